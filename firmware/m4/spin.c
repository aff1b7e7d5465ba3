/*
 * A program that only computes, for benchmarks and long runs: integer arithmetic, loads and stores, calls, branches and
 * IT blocks, in RAM alone (no peripheral, no system register).
 */
#include <stdint.h>

#include "report.h"

#define WORDS 64u

/* Rounds of 64 steps so far, and a digest of all values so far that depends on every step. */
volatile uint32_t cosim_counter;
volatile uint32_t cosim_digest;

static uint32_t words[WORDS];
static volatile uint32_t seed = 1;

int main(void);

/* There is no console and no state to report: a crash is seen by the fault record. */
void report_state(uint32_t state)
{
    (void)state;
}

/* Clamp and fold in one IT block each way; the compiler alone would not promise IT blocks. */
static uint32_t fold(uint32_t value, uint32_t limit)
{
    __asm("cmp %0, %1\n\t"
          "itte hs\n\t"
          "subhs %0, %0, %1\n\t"
          "eorhs %0, %0, %1, lsr #3\n\t"
          "addlo %0, %0, #17\n\t"
          "tst %0, #1\n\t"
          "it ne\n\t"
          "rorne %0, %0, #5"
          : "+r"(value)
          : "r"(limit)
          : "cc");
    return value;
}

static __attribute__((noinline)) uint32_t step(uint32_t state, uint32_t index)
{
    uint32_t next = state * 1664525u + 1013904223u;

    words[index] += next ^ words[next >> 26];
    return fold(next, words[index]);
}

int main(void)
{
    uint32_t state = seed;

    for (;;) {
        for (uint32_t i = 0; i < WORDS; i++)
            state = step(state, i);
        cosim_digest = state;
        cosim_counter++;
    }
}
