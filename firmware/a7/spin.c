/*
 * A program that only computes, for benchmarks: integer arithmetic, loads and stores, calls and branches in DDR.
 */
#include <stdint.h>

#define WORDS 64u

/* Rounds of 64 steps so far, and a digest of all values so far that depends on every step. */
volatile uint32_t cosim_counter;
volatile uint32_t cosim_digest;

static uint32_t words[WORDS];

int main(void);

static __attribute__((noinline)) uint32_t step(uint32_t state, uint32_t index)
{
    uint32_t next = state * 1664525u + 1013904223u;

    words[index] += next ^ words[next >> 26];
    if (next & 1u)
        return next ^ (words[index] >> 3);
    return next + 17u;
}

int main(void)
{
    uint32_t state = 1;

    for (;;) {
        for (uint32_t i = 0; i < WORDS; i++)
            state = step(state, i);
        cosim_digest = state;
        cosim_counter++;
    }
}
