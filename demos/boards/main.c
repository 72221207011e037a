/* A digit on a microcontroller: the net of net.h reads each picture of pictures.h and says what it sees. */
#include "board.h"
#include "net.h"
#include "pictures.h"

static void print_number(unsigned long number) {
  char text[11];
  size_t place = sizeof text - 1;
  text[place] = '\0';
  do {
    text[--place] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  print_text(text + place);
}

int main(void) {
  begin();
  for (size_t n = 0; n < PICTURES; n++) {
    float x[NET_INPUTS], y[NET_OUTPUTS];
    for (size_t i = 0; i < NET_INPUTS; i++) {
      x[i] = (float)PIXEL(n * NET_INPUTS + i) / 16.0f;
    }
    const unsigned long start = ticks();
    net_predict(x, y);
    const unsigned long time = ticks() - start;
    size_t answer = 0;
    for (size_t k = 1; k < NET_OUTPUTS; k++) {
      answer = y[k] > y[answer] ? k : answer;
    }
    print_text("digit ");
    print_number((unsigned long)answer);
    print_text(" ticks ");
    print_number(time);
    print_text("\n");
  }
  finish();
  return 0;
}
