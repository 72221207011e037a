/* What the headers that `to_c` writes are made of: each gets those of these functions that it uses, with its own name for pk. */

/* exp(x) - 1, and log(1 + x), which not every math.h has, to the last digits also near 0 (Kahan; Higham (2002), section 1.14). */
static inline float pk_expm1(float x) {
  const float u = expf(x), v = u - 1.0f;
  return u == 1.0f ? x : v == -1.0f ? -1.0f : v * x / logf(u);
}

static inline float pk_log1p(float x) {
  const float u = 1.0f + x;
  return u == 1.0f ? x : logf(u) * x / (u - 1.0f);
}

static inline float pk_sigmoid(float x) {
  const float e = expf(x < 88.0f ? x : 88.0f);
  return e / (1.0f + e);
}

static inline float pk_softplus(float x) {
  return (x > 0.0f ? x : 0.0f) + pk_log1p(expf(x > 0.0f ? -x : x));
}

/* tanh(log(1 + exp(x))) */
static inline float pk_gate(float x) {
  const float e = expf(x < 44.0f ? x : 44.0f);
  return e * (e + 2.0f) / (e * (e + 2.0f) + 2.0f);
}

/* The probability that a standard normal number is less than x: Hart (1968), approximation 5666, as in West (2005). */
static inline float pk_cdf(float x) {
  const float a = fabsf(x) < 20.0f ? fabsf(x) : 20.0f;
  const float above = (((((3.5262497e-2f * a + 0.70038306f) * a + 6.3739622f) * a + 33.912866f) * a + 112.07929f) * a
                       + 221.21360f) * a + 220.20687f;
  const float below = ((((((8.8388348e-2f * a + 1.7556672f) * a + 16.064178f) * a + 86.780732f) * a + 296.56425f) * a
                        + 637.33363f) * a + 793.82651f) * a + 440.41374f;
  const float tail = expf(-a * a / 2.0f) * above / below;
  return x > 0.0f ? 1.0f - tail : tail;
}

/* The probability density at x of a standard normal number. */
static inline float pk_density(float x) {
  return expf(-x * x / 2.0f) * 0.39894228f;
}

static inline float pk_elu(float x, float alpha) {
  return x > 0.0f ? x : alpha * pk_expm1(x);
}
