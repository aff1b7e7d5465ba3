/* The inner loop of the embedded engine in C: the same algorithm as python_loop.py; loop.py documents it.
 *
 * Built as an optional extension and loaded with ctypes. It needs neither the Python nor the Unicorn headers: the
 * functions of both that it calls arrive as pointers, so it always works on what is loaded already.
 */
#include "clock.h"
#include "cycles.h"
#include "exceptions.h"
#include "port.h"
#include "trace.h"
#include "traps.h"
#include "watch.h"

#define LOOP_ABI 11
#define UC_HOOK_INTR 1
#define UC_HOOK_CODE 4

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

static NOINLINE void leave_it(struct lane *lane, uint32_t address) {
    if (lane->busy && lane->pc == lane->it_pc)
        next_member(lane);
    retire(lane);
    while (lane->it_left && lane->it_pc != address) {
        skip(lane, lane->it_pc);
        next_member(lane);
    }
}

/* An instruction is announced. */
static NOINLINE void begin(void *uc, uint64_t address64, uint32_t size, void *user) {
    struct lane *lane = user;
    uint32_t address = (uint32_t)address64, code, candidates;
    if (lane->it_left)
        leave_it(lane, address);
    lane->retired += lane->busy;
    if (lane->retired >= lane->limit && !lane->it_left) {
        lane->busy = 0;
        lane->loop->stop(uc);
        return;
    }
    lane->busy = 1;
    lane->pc = address;
    code = code_at(lane, address, size);
    candidates = interest(lane, size, code) & lane->traps_on;
    if (size == 2)
        open_it(lane, address, code);
    if (candidates)
        check_traps(lane, address, size, code, candidates);
}

/* The same, quickly where nothing but counting is to be done: without a call, so that no register has to be saved. */
static void about_to_execute(void *uc, uint64_t address, uint32_t size, void *user) {
    struct lane *lane = user;
    uint64_t retired = lane->retired + lane->busy;
    uint32_t offset = (uint32_t)address - lane->window_base, code;
    if (LIKELY(retired < lane->limit && !lane->it_left && offset < lane->window_size)) {
        memcpy(&code, lane->window + offset, sizeof(code));
        if (LIKELY(!(interest(lane, size, code) & (lane->traps_on | OPENS_IT)))) {
            lane->retired = retired;
            lane->busy = 1;
            lane->pc = (uint32_t)address;
            return;
        }
    }
    begin(uc, address, size, user);
}

/* An instruction is announced where the clock is in cycles (CycleCounter.arrive and .begin). */
static NOINLINE void begin_timed(void *uc, uint64_t address64, uint32_t size, void *user) {
    struct lane *lane = user;
    uint32_t address = (uint32_t)address64, straight, cycles, code;
    struct cost *cost;
    if (lane->it_left)
        leave_it(lane, address);
    else if (lane->busy)
        retire_timed(lane);
    if (lane->thumb == UNSURE)
        lane->thumb = size == 2 || register_value(lane, lane->loop->reg_cpsr) >> 5 & 1;
    cost = cost_at(lane, address, size, &code);
    straight = address == lane->next;
    if (!straight && lane->refill) {
        uint32_t refill = lane->refill + cost->target;
        lane->cycles += refill < lane->refill_limit ? refill : lane->refill_limit;
        lane->refill = 0;
    }
    if (lane->cycles >= lane->limit && !lane->it_left) {
        lane->loop->stop(uc);
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
        cycles += dynamic_cycles(lane, cost);
    if (cost->access)
        cycles += access_cycles(lane, cost, address);
    lane->busy = 1;
    lane->pc = address;
    lane->cost = cycles;
    lane->then_flags = cost->flags;
    lane->then_refill = cost->refill;
    if (size == 2)
        open_it(lane, address, code);
    if (cost->traps & (lane->traps_on | OPENS_IT)) {
        uint32_t candidates = interest(lane, size, code);
        if (lane->page_tag != NOWHERE)
            cost->traps = candidates;
        if (candidates &= lane->traps_on)
            check_traps(lane, address, size, code, candidates);
    }
}

/* What the instruction at `address` costs, if it is of no interest otherwise; NULL: `begin_timed` knows. */
static inline const struct cost *plain_cost(const struct lane *lane, uint32_t address, uint32_t size) {
    uint32_t offset = address & 0xfff, code = 0;
    const struct cost *cost = &lane->page[offset >> 1];
    if ((address >> 12 | lane->thumb << 20) != lane->page_tag || !lane->host || offset + size > 0x1000)
        return NULL;
    memcpy(&code, lane->host + offset, 2);
    if (size == 4)
        memcpy(&code, lane->host + offset, 4);
    return is_of(cost, code) && !(cost->traps & (lane->traps_on | OPENS_IT)) ? cost : NULL;
}

/* The instruction that has just begun costs what depends on more than its bytes, too. */
static NOINLINE void add_dynamic(struct lane *lane, const struct cost *cost) {
    if (cost->flags & (DIVIDE | FPU))
        lane->cost += dynamic_cycles(lane, cost);
    if (cost->access)
        lane->cost += access_cycles(lane, cost, lane->pc);
}

/* The same, quickly where one instruction follows another: no call but the last, as in `about_to_execute`. */
static void about_to_execute_timed(void *uc, uint64_t address64, uint32_t size, void *user) {
    struct lane *lane = user;
    uint32_t address = (uint32_t)address64, pc = lane->pc, flags = lane->then_flags, refill = lane->then_refill;
    uint32_t after = flags & LEAVES ? NOWHERE : pc + (flags & WIDE ? 4 : 2), straight = address == after;
    uint32_t special = FPU_DIVIDE | UNKNOWN | (lane->two_states ? SWITCHES : 0);
    const struct cost *cost = plain_cost(lane, address, size);
    int32_t follows = cost && straight ? cost->after[address - pc == 4] : 0;
    if (LIKELY(cost && lane->busy && !lane->it_left && !(flags & special) && follows != UNSEEN)) {
        uint64_t cycles = lane->cycles + lane->cost;
        if (!straight && refill) {
            refill += cost->target;
            cycles += refill < lane->refill_limit ? refill : lane->refill_limit;
            refill = 0;
        }
        if (LIKELY(cycles < lane->limit)) {
            lane->retired++;
            lane->cycles = cycles;
            lane->cost = cost->cycles + fetch_waits(cost, address, straight) + (uint32_t)follows;
            lane->before = pc;
            lane->next = after;
            lane->refill = refill;
            lane->pc = address;
            lane->then_flags = cost->flags;
            lane->then_refill = cost->refill;
            if (cost->flags & (DIVIDE | FPU) || cost->access)
                add_dynamic(lane, cost);
            return;
        }
    }
    begin_timed(uc, address64, size, user);
}

/* Unicorn reports an exception. */
static void on_interrupt(void *uc, uint32_t number, void *user) {
    struct lane *lane = user;
    if (number != EXCEPTION_EXIT || !lane->exceptions || !*lane->exceptions->serves || lane->attention) {
        lane->interrupted(number);
        return;
    }
    lane->leaving = 1;
    lane->loop->stop(uc);
}

static int start_once(struct loop *loop, struct lane *lane) {
    void *uc = (void *)(uintptr_t)lane->handle;
    uint32_t begin = 0, cpsr = 0;
    lane->attention = lane->trap = lane->leaving = 0;
    loop->reg_read(uc, loop->reg_pc, &begin);
    loop->reg_read(uc, loop->reg_cpsr, &cpsr);
    begin |= cpsr >> 5 & 1;
    if (lane->two_states)
        lane->thumb = cpsr >> 5 & 1;
    return loop->start(uc, begin, UINT64_MAX, 0, 0);
}

static int start(struct loop *loop, struct lane *lane) {
    for (;;) {
        int error = start_once(loop, lane);
        if (!lane->leaving)
            return error;
        if (error || lane->attention || !leave_handler(lane)) {
            lane->interrupted(EXCEPTION_EXIT);
            return error;
        }
        if (lane->attention || clock_of(lane) >= lane->limit)
            return 0;
    }
}

EXPORT uint32_t cosim_loop_abi(void) {
    return LOOP_ABI;
}

/* Returns Unicorn's error code. */
EXPORT int cosim_lane_init(struct loop *loop, struct lane *lane) {
    void *uc = (void *)(uintptr_t)lane->handle;
    size_t hook;
    int error;
    if (loop->lanes == MAX_LANES)
        return -1;
    lane->loop = loop;
    loop->lane[loop->lanes++] = lane;
    error = loop->hook_add(uc, &hook, UC_HOOK_INTR, (void *)on_interrupt, lane, 1, 0);
    if (error)
        return error;
    return loop->hook_add(uc, &hook, UC_HOOK_CODE,
                          lane->timed ? (void *)about_to_execute_timed : (void *)about_to_execute, lane, 1, 0);
}

/* Whether the core took what preempts, or nothing does; false: Python has to do it. */
EXPORT bool cosim_deliver(struct lane *lane) {
    return deliver(lane);
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
EXPORT int cosim_turns(struct loop *loop, uint64_t *horizon_ps, int *error, uint64_t quantum_ps, uint64_t end_ps) {
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
