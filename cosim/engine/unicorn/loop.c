/* The inner loop of the embedded engine in C: the same algorithm as loop.py, which documents it.
 *
 * Built as an optional extension and loaded with ctypes. It needs neither the Python nor the Unicorn headers: the
 * four Unicorn functions it calls arrive as pointers, so it always works on the library that Python has loaded.
 */
#include <stdint.h>
#include <stddef.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#define LOOP_ABI 4
#define MAX_RANGES 32
#define MAX_LANES 8
#define MAX_TRAPS 32
#define NO_REGISTER 0xffu
#define PICOSECONDS 1000000u
#define UC_HOOK_CODE 4

struct range {
    uint64_t base, size, host;
};

struct trap {
    uint32_t mask, value;
    uint8_t size, after, arm, zero, unaligned; /* the last two: position of a register field, or NO_REGISTER */
};

typedef void (*block_fn)(void);

/* Mirrored field by field in native.py. */
struct lane {
    uint64_t retired, limit, origin_ps, origin_retired;
    uint64_t handle;
    uint32_t busy, pc, it_left, it_pc, it_state, attention, runnable, mips;
    uint32_t traps_on, trap, pass_at;
    uint32_t ranges, last_range;
    struct range range[MAX_RANGES];
    uint32_t filter[2][256]; /* Thumb, ARM */
    struct trap traps[MAX_TRAPS];
    block_fn in_block;
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

static uint32_t halfword(struct lane *lane, uint32_t address) {
    struct range *r = &lane->range[lane->last_range];
    if (address - r->base >= r->size) {
        uint32_t i;
        for (i = 0; i < lane->ranges; i++) {
            r = &lane->range[i];
            if (address - r->base < r->size)
                break;
        }
        if (i == lane->ranges)
            return 0;
        lane->last_range = i;
    }
    return *(const uint16_t *)(uintptr_t)(r->host + ((address - r->base) & ~(uint64_t)1));
}

/* The 16 or 32 bits at `address`, the first halfword in the lower half. */
static inline uint32_t code_at(struct lane *lane, uint32_t address, uint32_t size) {
    const struct range *r = &lane->range[lane->last_range];
    uint64_t offset = address - r->base;
    if (size == 4 && offset + 4 <= r->size && offset < r->size) {
        uint32_t word;
        memcpy(&word, (const void *)(uintptr_t)(r->host + offset), sizeof(word));
        return word;
    }
    return size == 4 ? halfword(lane, address) | halfword(lane, address + 2) << 16 : halfword(lane, address);
}

static uint32_t length(struct lane *lane, uint32_t address) {
    return halfword(lane, address) >> 11 >= 0x1d ? 4 : 2;
}

static void next_member(struct lane *lane) {
    uint32_t state = lane->it_state;
    lane->it_pc += length(lane, lane->it_pc);
    lane->it_left--;
    lane->it_state = state & 7 ? (state & 0xe0) | (state << 1 & 0x1f) : 0;
}

static void leave_it(struct lane *lane, uint32_t address) {
    if (lane->busy && lane->pc == lane->it_pc)
        next_member(lane);
    while (lane->it_left && lane->it_pc != address) {
        lane->retired++;
        next_member(lane);
    }
}

struct hook_context {
    struct lane *lane;
    struct loop *loop;
};

static uint32_t register_value(struct loop *loop, void *uc, int32_t number) {
    uint32_t value = 0;
    loop->reg_read(uc, number, &value);
    return value;
}

/* SP and PC are always aligned (ARMv7-M manual, B1.4.1); a field of a 16-bit instruction has three bits. */
static int is_unaligned(struct loop *loop, void *uc, const struct trap *trap, uint32_t opcode) {
    uint32_t number = opcode >> trap->unaligned & (trap->size == 2 ? 7 : 15);
    return number != 13 && number != 15 && register_value(loop, uc, loop->reg[number]) & 3;
}

/* `candidates`: the traps that the first-level table lets through. */
static void check_traps(struct hook_context *context, void *uc, uint32_t address, uint32_t size, uint32_t candidates) {
    struct lane *lane = context->lane;
    uint32_t opcode = halfword(lane, address), arm = 0;
    if (lane->trap) /* the rest of an IT block that was given up */
        return;
    if (lane->pass_at == (address | 1)) {
        lane->pass_at = 0;
        return;
    }
    if (size == 4) {
        uint32_t second = halfword(lane, address + 2);
        arm = !(register_value(context->loop, uc, context->loop->reg_cpsr) >> 5 & 1);
        opcode = arm ? second << 16 | opcode : opcode << 16 | second;
    }
    for (; candidates; candidates &= candidates - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(candidates);
        const struct trap *trap = &lane->traps[i];
        if (trap->size != size || trap->arm != arm || (opcode & trap->mask) != trap->value)
            continue;
        if (trap->zero != NO_REGISTER && register_value(context->loop, uc, context->loop->reg[opcode >> trap->zero & 15]))
            continue;
        if (trap->unaligned != NO_REGISTER && !is_unaligned(context->loop, uc, trap, opcode))
            continue;
        lane->trap = i + 1;
        lane->attention = 1;
        if (trap->after) {
            lane->limit = 0;
        } else {
            lane->busy = 0;
            if (lane->it_left) {
                lane->limit = 0;
                lane->in_block();
            } else {
                context->loop->stop(uc);
            }
        }
        return;
    }
}

static void about_to_execute(void *uc, uint64_t address, uint32_t size, void *user) {
    struct hook_context *context = user;
    struct lane *lane = context->lane;
    if (lane->it_left)
        leave_it(lane, (uint32_t)address);
    lane->retired += lane->busy;
    if (lane->retired >= lane->limit && !lane->it_left) {
        lane->busy = 0;
        context->loop->stop(uc);
        return;
    }
    lane->busy = 1;
    lane->pc = (uint32_t)address;
    if (size == 2 || lane->traps_on) {
        uint32_t code = code_at(lane, (uint32_t)address, size), candidates;
        if (size == 2 && (code & 0xff00) == 0xbf00 && (code & 0xf)) {
            lane->it_left = 4 - (uint32_t)__builtin_ctz(code & 0xf);
            lane->it_pc = (uint32_t)address + 2;
            lane->it_state = code & 0xff;
        }
        candidates = lane->filter[0][code >> 8 & 0xff];
        if (size == 4)
            candidates |= lane->filter[1][code >> 20 & 0xff];
        if (candidates &= lane->traps_on)
            check_traps(context, uc, (uint32_t)address, size, candidates);
    }
}

static int start(struct loop *loop, struct lane *lane) {
    void *uc = (void *)(uintptr_t)lane->handle;
    uint32_t begin = 0, cpsr = 0;
    lane->attention = lane->trap = 0;
    loop->reg_read(uc, loop->reg_pc, &begin);
    loop->reg_read(uc, loop->reg_cpsr, &cpsr);
    begin |= cpsr >> 5 & 1;
    return loop->start(uc, begin, UINT64_MAX, 0, 0);
}

static uint64_t limit_at(const struct lane *lane, uint64_t time_ps) {
    if (time_ps <= lane->origin_ps)
        return lane->origin_retired;
    return lane->origin_retired + ((time_ps - lane->origin_ps) * lane->mips + PICOSECONDS - 1) / PICOSECONDS;
}

EXPORT uint32_t cosim_loop_abi(void) {
    return LOOP_ABI;
}

/* `context` must live as long as the lane; returns Unicorn's error code. */
EXPORT int cosim_lane_init(struct loop *loop, struct lane *lane, struct hook_context *context) {
    size_t hook;
    if (loop->lanes == MAX_LANES)
        return -1;
    context->lane = lane;
    context->loop = loop;
    loop->lane[loop->lanes++] = lane;
    return loop->hook_add((void *)(uintptr_t)lane->handle, &hook, UC_HOOK_CODE, (void *)about_to_execute, context, 1, 0);
}

EXPORT void cosim_lane_settle(struct lane *lane, uint32_t pc) {
    if (lane->it_left)
        leave_it(lane, pc);
}

EXPORT int cosim_run(struct loop *loop, struct lane *lane) {
    return lane->retired < lane->limit ? start(loop, lane) : 0;
}

/* Returns the index of the lane that wants attention, or -1 when all reached `end_ps`. */
EXPORT int cosim_turns(struct loop *loop, uint64_t *horizon_ps, uint64_t quantum_ps, uint64_t end_ps, int *error) {
    *error = 0;
    for (;;) {
        for (uint32_t i = 0; i < loop->lanes; i++) {
            struct lane *lane = loop->lane[i];
            if (!lane->runnable)
                continue;
            lane->limit = limit_at(lane, *horizon_ps);
            if (lane->retired < lane->limit) {
                *error = start(loop, lane);
                if (*error || lane->attention || lane->busy)
                    return (int)i;
            }
        }
        if (*horizon_ps >= end_ps)
            return -1;
        *horizon_ps = end_ps - *horizon_ps > quantum_ps ? *horizon_ps + quantum_ps : end_ps;
    }
}
