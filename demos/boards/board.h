/* The three boards that this runs on: a Cortex-M4F as qemu-system-arm has it (mps2-an386), an ATmega328P as simavr has it, and the
   computer itself. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

#if defined(__AVR__)

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>

#define PIXEL(i) pgm_read_byte(&pictures[i])
#define IN_FLASH PROGMEM

static void print_text(const char *text) {
  for (; *text; text++) {
    while (!(UCSR0A & (1 << UDRE0))) {
    }
    UDR0 = (uint8_t)*text;
  }
}

/* 1024 / 16 MHz = 64 microseconds each */
static unsigned long ticks(void) {
  return TCNT1;
}

static void begin(void) {
  UCSR0B = 1 << TXEN0;
  TCCR1B = (1 << CS12) | (1 << CS10);
}

static void finish(void) { /* which ends simavr */
  cli();
  sleep_enable();
  sleep_cpu();
}

#elif defined(__arm__) && !defined(__linux__)

#define PIXEL(i) pictures[i]
#define IN_FLASH

/* Arm's semihosting: operation 4 prints a text, 0x18 ends the program. */
static void semihosting(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static void print_text(const char *text) {
  semihosting(4, text);
}

static unsigned long ticks(void) { /* qemu does not count cycles as the processor does */
  return 0;
}

static void begin(void) {
}

static void finish(void) {
  semihosting(0x18, (const void *)0x20026);
}

int main(void);
extern uint32_t __stack, __data_start, __data_end, __data_load, __bss_start, __bss_end;

static void reset(void) {
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: the floating-point unit on */
  __asm__ volatile("dsb\n\tisb");
  uint32_t *from = &__data_load;
  for (uint32_t *to = &__data_start; to < &__data_end;) {
    *to++ = *from++;
  }
  for (uint32_t *to = &__bss_start; to < &__bss_end;) {
    *to++ = 0;
  }
  (void)main();
  for (;;) {
  }
}

__attribute__((used, section(".vectors"))) static const uintptr_t vectors[2] = {(uintptr_t)&__stack, (uintptr_t)&reset};

#else

#include <stdio.h>

#define PIXEL(i) pictures[i]
#define IN_FLASH

static void print_text(const char *text) {
  fputs(text, stdout);
}

static unsigned long ticks(void) {
  return 0;
}

static void begin(void) {
}

static void finish(void) {
}

#endif

#endif
