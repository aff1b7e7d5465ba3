/* What the inner loop in C knows of a core, and what it is handed; native.py mirrors it field by field. */
#ifndef COSIM_LOOP_H
#define COSIM_LOOP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MAX_RANGES 32
#define MAX_LANES 8
#define MAX_TRAPS 31
#define MAX_WAITS 16
#define OPENS_IT 0x80000000u /* of `filter`, beside the bits of the traps: it may be an IT instruction */
#define NO_REGISTER 0xffu

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define NOINLINE __attribute__((noinline))

struct range {
    uint64_t base, size, host, rights; /* as Unicorn's permissions */
};

/* Cycles of an instruction, laid out in cosim/timing/code.py. */
struct cost {
    uint8_t cycles;
    int8_t after[2]; /* by the size of the one before: 2 or 4 bytes */
    uint8_t refill, target, flags, operands, waits;
    uint32_t code, traps; /* the traps that its encoding may match, ALL_TRAPS before that was looked up */
    uint8_t base, index, shift, access;
    int16_t displacement;
    uint8_t words, unused;
};

/* A region whose data accesses wait. */
struct waits {
    uint32_t base, size, read, write;
};

struct trap {
    uint32_t mask, value;
    uint8_t size, after, arm, zero, unaligned; /* the last two: position of a register field, or NO_REGISTER */
    uint8_t misplaced;
};

typedef void (*block_fn)(void);
typedef void (*learn_fn)(uint32_t, uint32_t);
typedef void (*interrupted_fn)(uint32_t);

struct loop;
struct exceptions;

struct lane {
    uint64_t retired, limit;
    const uint8_t *window; /* bytes of the range that an instruction was looked up in last: */
    uint32_t window_base, window_size; /* its address, and how many places in it four bytes can be read at */
    uint32_t busy, pc, it_left, traps_on;
    struct loop *loop;
    uint64_t origin_ps, origin, handle;
    uint64_t cycles, fpu_free, then_fpu_free, unknown;
    uint32_t it_pc, it_state, attention, runnable, fresh, mips, trap, pass_at;
    uint32_t timed, thumb, next, before, refill, unknown_at, cost, then_flags, then_refill;
    uint32_t two_states, skipped, refill_limit, divide_least, divide_most;
    uint32_t arm_traps, unaligned_halfword, unaligned_odd, unaligned_even, waits;
    uint32_t page_tag, ranges;
    struct cost *page;   /* the costs of the page that was looked up last, */
    const uint8_t *host; /* and its bytes, NULL if it is no whole page of a range */
    struct range range[MAX_RANGES];
    struct cost **directory[2][1024]; /* ARM, Thumb; by bits 31:22, then 21:12 of the address */
    learn_fn learn;                   /* makes the costs at an address, or what follows from the one before */
    uint32_t filter[2][256];          /* Thumb, ARM */
    struct trap traps[MAX_TRAPS];
    struct waits wait[MAX_WAITS];
    block_fn in_block;
    interrupted_fn interrupted;
    struct exceptions *exceptions; /* NULL: Python does all of them */
    uint32_t leaving;              /* stopped at an exception return that `exceptions` may be for */
};

typedef int (*start_fn)(void *, uint64_t, uint64_t, uint64_t, size_t);
typedef int (*stop_fn)(void *);
typedef int (*reg_read_fn)(void *, int, void *);
typedef int (*hook_add_fn)(void *, size_t *, int, void *, void *, uint64_t, uint64_t, ...);

struct loop {
    start_fn start;
    stop_fn stop;
    reg_read_fn reg_read;
    hook_add_fn hook_add;
    int32_t reg_pc, reg_cpsr;
    int32_t reg[16];
    uint32_t lanes;
    struct lane *lane[MAX_LANES];
};

/* What a lane's limit is about: cycles, or instructions. */
static inline uint64_t clock_of(const struct lane *lane) {
    return lane->timed ? lane->cycles : lane->retired;
}

static inline uint32_t register_value(const struct lane *lane, int32_t number) {
    uint32_t value = 0;
    lane->loop->reg_read((void *)(uintptr_t)lane->handle, number, &value);
    return value;
}

#endif
