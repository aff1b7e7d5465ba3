/* The inner loop of the embedded engine in C: the same algorithm as python_loop.py; loop.py documents it.
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

#define LOOP_ABI 7
#define MAX_RANGES 32
#define MAX_LANES 8
#define MAX_TRAPS 32
#define MAX_WAITS 16
#define NO_REGISTER 0xffu
#define PICOSECONDS 1000000u
#define UC_HOOK_CODE 4

struct range {
    uint64_t base, size, host;
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

#define WRITES 0x80u
#define PC 15

/* A region whose data accesses wait. */
struct waits {
    uint32_t base, size, read, write;
};

#define ALL_TRAPS 0xffffffffu

enum { WIDE = 1, LEAVES = 2, DIVIDE = 4, SIGNED = 8, FPU = 16, FPU_DIVIDE = 32, SWITCHES = 64, UNKNOWN = 128 };
#define UNSEEN (-128)
#define NOWHERE 0xffffffffu
#define UNSURE 2u /* of `thumb` */

struct trap {
    uint32_t mask, value;
    uint8_t size, after, arm, zero, unaligned; /* the last two: position of a register field, or NO_REGISTER */
};

typedef void (*block_fn)(void);
typedef void (*learn_fn)(uint32_t, uint32_t);

/* Mirrored field by field in native.py. */
struct lane {
    uint64_t retired, limit, origin_ps, origin;
    uint64_t handle;
    uint64_t cycles, fpu_free, then_fpu_free, unknown;
    uint32_t busy, pc, it_left, it_pc, it_state, attention, runnable, mips;
    uint32_t traps_on, trap, pass_at;
    uint32_t timed, thumb, next, before, refill, unknown_at, cost, then_flags, then_refill;
    uint32_t two_states, skipped, refill_limit, divide_least, divide_most;
    uint32_t unaligned_halfword, unaligned_odd, unaligned_even, waits;
    uint32_t page_tag, ranges, last_range;
    struct cost *page;   /* the costs of the page that was looked up last, */
    const uint8_t *host; /* and its bytes, NULL if it is no whole page of a range */
    struct range range[MAX_RANGES];
    struct cost **directory[2][1024]; /* ARM, Thumb; by bits 31:22, then 21:12 of the address */
    learn_fn learn;                         /* makes the costs at an address, or what follows from the one before */
    uint32_t filter[2][256]; /* Thumb, ARM */
    struct trap traps[MAX_TRAPS];
    struct waits wait[MAX_WAITS];
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

/* What a lane's limit is about: cycles, or instructions. */
static inline uint64_t clock_of(const struct lane *lane) {
    return lane->timed ? lane->cycles : lane->retired;
}

static struct cost *costs_of_page(struct lane *lane, uint32_t address) {
    struct cost **pages = lane->directory[lane->thumb & 1][address >> 22];
    return pages ? pages[address >> 12 & 0x3ff] : NULL;
}

static inline int is_of(const struct cost *cost, uint32_t code) {
    return cost->code == code && cost->cycles;
}

/* The bytes of the page around `address`, where all of it lies in one range. */
static const uint8_t *host_page(struct lane *lane, uint32_t address) {
    uint64_t base = address & ~(uint64_t)0xfff;
    for (uint32_t i = 0; i < lane->ranges; i++) {
        const struct range *r = &lane->range[i];
        if (base >= r->base && base + 0x1000 <= r->base + r->size)
            return (const uint8_t *)(uintptr_t)(r->host + (base - r->base));
    }
    return NULL;
}

/* The cost of an instruction that is not in the page of the last one, or that was not decoded yet. */
static struct cost *look_up(struct lane *lane, uint32_t address, uint32_t size, uint32_t code) {
    static struct cost unknown[2] = {
        {.cycles = 1, .flags = SWITCHES | UNKNOWN, .traps = ALL_TRAPS},
        {.cycles = 1, .flags = WIDE | SWITCHES | UNKNOWN, .traps = ALL_TRAPS},
    };
    uint32_t index = (address & 0xfff) >> 1;
    struct cost *page = costs_of_page(lane, address);
    lane->page_tag = NOWHERE;
    if (!page || !is_of(&page[index], code)) {
        lane->learn(address, NOWHERE);
        page = costs_of_page(lane, address);
        if (!page || !is_of(&page[index], code))
            return &unknown[size == 4];
    }
    lane->page_tag = address >> 12 | lane->thumb << 20;
    lane->page = page;
    lane->host = host_page(lane, address);
    return &page[index];
}

/* The cost of the instruction at `address`, made of the bytes that lie there now, which go to `code`. */
static inline struct cost *cost_at(struct lane *lane, uint32_t address, uint32_t size, uint32_t *code) {
    uint32_t offset = address & 0xfff;
    if ((address >> 12 | lane->thumb << 20) == lane->page_tag && lane->host && offset + size <= 0x1000) {
        struct cost *found = &lane->page[offset >> 1];
        uint16_t first;
        if (size == 4) {
            memcpy(code, lane->host + offset, sizeof(*code));
        } else {
            memcpy(&first, lane->host + (offset & ~1u), sizeof(first));
            *code = first;
        }
        if (is_of(found, *code))
            return found;
    } else {
        *code = code_at(lane, address, size);
    }
    return look_up(lane, address, size, *code);
}

/* Wait states of the words that an instruction is the first to need. */
static inline uint32_t fetch_waits(const struct cost *cost, uint32_t address, uint32_t straight) {
    uint32_t upper = address >> 1 & 1;
    if (!cost->waits)
        return 0;
    return cost->waits * (1 + (cost->flags & WIDE ? upper : 0) - (straight ? upper : 0));
}

static uint32_t bit_length(uint32_t value) {
    return value ? 32 - (uint32_t)__builtin_clz(value) : 0;
}

static uint32_t divide_cycles(const struct lane *lane, uint32_t dividend, uint32_t divisor, uint32_t is_signed) {
    int32_t bits;
    if (is_signed && dividend >> 31)
        dividend = 0 - dividend;
    if (is_signed && divisor >> 31)
        divisor = 0 - divisor;
    bits = (int32_t)bit_length(dividend) - (int32_t)bit_length(divisor) + 1;
    if (!divisor || bits <= 0)
        return lane->divide_least;
    return lane->divide_least + ((lane->divide_most - lane->divide_least) * (uint32_t)bits + 31) / 32;
}

/* The instruction at work has retired, where the clock is in cycles (CycleCounter.complete). */
static inline void retire_timed(struct lane *lane) {
    uint32_t flags = lane->then_flags;
    lane->busy = 0;
    lane->retired++;
    lane->cycles += lane->cost;
    lane->before = lane->pc;
    lane->refill = lane->then_refill;
    lane->next = flags & LEAVES ? NOWHERE : lane->pc + (flags & WIDE ? 4 : 2);
    if (!(flags & (FPU_DIVIDE | SWITCHES | UNKNOWN)))
        return;
    if (flags & FPU_DIVIDE)
        lane->fpu_free = lane->then_fpu_free;
    if (flags & SWITCHES && lane->two_states)
        lane->thumb = UNSURE;
    if (flags & UNKNOWN && !lane->unknown++) {
        lane->unknown_at = lane->pc;
        lane->attention = 1;
        lane->limit = 0;
    }
}

/* The instruction at work, if there is one, has retired. */
static void retire(struct lane *lane) {
    if (lane->busy && lane->timed) {
        retire_timed(lane);
    } else {
        lane->retired += lane->busy;
        lane->busy = 0;
    }
}

/* An IT block passes over the instruction at `address` (CycleCounter.skip). */
static void skip(struct lane *lane, uint32_t address) {
    uint32_t size = length(lane, address), code;
    lane->retired++;
    if (!lane->timed)
        return;
    lane->cycles += lane->skipped + fetch_waits(cost_at(lane, address, size, &code), address, address == lane->next);
    lane->before = NOWHERE;
    lane->next = address + size;
    lane->refill = 0;
}

static void leave_it(struct lane *lane, uint32_t address) {
    if (lane->busy && lane->pc == lane->it_pc)
        next_member(lane);
    retire(lane);
    while (lane->it_left && lane->it_pc != address) {
        skip(lane, lane->it_pc);
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

/* The 16-bit instruction `code` at `address` begins: does it open an IT block? */
static inline void open_it(struct lane *lane, uint32_t address, uint32_t code) {
    if ((code & 0xff00) == 0xbf00 && (code & 0xf)) {
        lane->it_left = 4 - (uint32_t)__builtin_ctz(code & 0xf);
        lane->it_pc = address + 2;
        lane->it_state = code & 0xff;
    }
}

/* The traps, on or not, that an encoding may match. */
static inline uint32_t candidates_of(const struct lane *lane, uint32_t size, uint32_t code) {
    return lane->filter[0][code >> 8 & 0xff] | (size == 4 ? lane->filter[1][code >> 20 & 0xff] : 0);
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
        if (size == 2)
            open_it(lane, (uint32_t)address, code);
        if ((candidates = candidates_of(lane, size, code) & lane->traps_on))
            check_traps(context, uc, (uint32_t)address, size, candidates);
    }
}

/* What depends on more than the bytes: the state of the FPU and the operands of a divide. */
static uint32_t dynamic_cycles(struct hook_context *context, void *uc, const struct cost *cost) {
    struct lane *lane = context->lane;
    uint32_t wait;
    if (cost->flags & DIVIDE) {
        const int32_t *reg = context->loop->reg;
        uint32_t dividend = register_value(context->loop, uc, reg[cost->operands >> 4]);
        uint32_t divisor = register_value(context->loop, uc, reg[cost->operands & 15]);
        return divide_cycles(lane, dividend, divisor, cost->flags & SIGNED) - cost->cycles;
    }
    wait = lane->fpu_free > lane->cycles ? (uint32_t)(lane->fpu_free - lane->cycles) : 0;
    if (!(cost->flags & FPU_DIVIDE))
        return wait;
    lane->then_fpu_free = lane->cycles + wait + cost->cycles;
    return wait + 1 - cost->cycles;
}

static uint32_t access_register(struct hook_context *context, void *uc, uint32_t number) {
    return number < PC ? register_value(context->loop, uc, context->loop->reg[number]) : 0;
}

/* Alignment and wait states of a load or store (CycleCounter.reached and .access). */
static uint32_t access_cycles(struct hook_context *context, void *uc, const struct cost *cost, uint32_t address) {
    const struct lane *lane = context->lane;
    uint32_t size = cost->access & ~WRITES, further = 0;
    uint32_t at = cost->base == PC ? (address & ~3u) + 4 : access_register(context, uc, cost->base);
    at += (access_register(context, uc, cost->index) << cost->shift) + (uint32_t)(int32_t)cost->displacement;
    if (cost->words == 1 && at & (size - 1))
        further = size == 2 ? lane->unaligned_halfword : at & 1 ? lane->unaligned_odd : lane->unaligned_even;
    for (uint32_t i = 0; i < lane->waits; i++) {
        const struct waits *region = &lane->wait[i];
        if (at - region->base < region->size)
            return further + (cost->access & WRITES ? region->write : region->read) * (cost->words + further);
    }
    return further;
}

/* The same as `about_to_execute` where the clock is in cycles (CycleCounter.arrive and .begin). */
static void about_to_execute_timed(void *uc, uint64_t address64, uint32_t size, void *user) {
    struct hook_context *context = user;
    struct lane *lane = context->lane;
    uint32_t address = (uint32_t)address64, straight, cycles, code;
    struct cost *cost;
    if (lane->it_left)
        leave_it(lane, address);
    else if (lane->busy)
        retire_timed(lane);
    if (lane->thumb == UNSURE)
        lane->thumb = size == 2 || register_value(context->loop, uc, context->loop->reg_cpsr) >> 5 & 1;
    cost = cost_at(lane, address, size, &code);
    straight = address == lane->next;
    if (!straight && lane->refill) {
        uint32_t refill = lane->refill + cost->target;
        lane->cycles += refill < lane->refill_limit ? refill : lane->refill_limit;
        lane->refill = 0;
    }
    if (lane->cycles >= lane->limit && !lane->it_left) {
        context->loop->stop(uc);
        return;
    }
    cycles = cost->cycles + fetch_waits(cost, address, straight);
    if (straight && lane->before != NOWHERE) {
        uint32_t wide = address - lane->before == 4;
        if (cost->after[wide] == UNSEEN)
            lane->learn(address, lane->before);
        cycles += (uint32_t)(int32_t)cost->after[wide];
    }
    if (cost->flags & (DIVIDE | FPU))
        cycles += dynamic_cycles(context, uc, cost);
    if (cost->access)
        cycles += access_cycles(context, uc, cost, address);
    lane->busy = 1;
    lane->pc = address;
    lane->cost = cycles;
    lane->then_flags = cost->flags;
    lane->then_refill = cost->refill;
    if (size == 2)
        open_it(lane, address, code);
    if (cost->traps & lane->traps_on) {
        uint32_t candidates = candidates_of(lane, size, code);
        if (lane->page_tag != NOWHERE)
            cost->traps = candidates;
        if (candidates &= lane->traps_on)
            check_traps(context, uc, address, size, candidates);
    }
}

static int start(struct loop *loop, struct lane *lane) {
    void *uc = (void *)(uintptr_t)lane->handle;
    uint32_t begin = 0, cpsr = 0;
    lane->attention = lane->trap = 0;
    loop->reg_read(uc, loop->reg_pc, &begin);
    loop->reg_read(uc, loop->reg_cpsr, &cpsr);
    begin |= cpsr >> 5 & 1;
    if (lane->two_states)
        lane->thumb = cpsr >> 5 & 1;
    return loop->start(uc, begin, UINT64_MAX, 0, 0);
}

static uint64_t limit_at(const struct lane *lane, uint64_t time_ps) {
    if (time_ps <= lane->origin_ps)
        return lane->origin;
    return lane->origin + ((time_ps - lane->origin_ps) * lane->mips + PICOSECONDS - 1) / PICOSECONDS;
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
    return loop->hook_add((void *)(uintptr_t)lane->handle, &hook, UC_HOOK_CODE,
                          lane->timed ? (void *)about_to_execute_timed : (void *)about_to_execute, context, 1, 0);
}

EXPORT void cosim_lane_settle(struct lane *lane, uint32_t pc) {
    if (lane->it_left)
        leave_it(lane, pc);
    retire(lane);
}

EXPORT int cosim_run(struct loop *loop, struct lane *lane) {
    return clock_of(lane) < lane->limit ? start(loop, lane) : 0;
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
            if (clock_of(lane) < lane->limit) {
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
