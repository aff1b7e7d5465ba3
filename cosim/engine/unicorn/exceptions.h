/* Exception entry and return of the Cortex-M4 in C: what m4_exceptions.py does, where nothing is out of the ordinary.
 *
 * Interrupts, PendSV and SysTick; privileged software; basic frames in plain memory; and nothing for the event log.
 * All else is left to Python, before anything has changed.
 */
#ifndef COSIM_EXCEPTIONS_H
#define COSIM_EXCEPTIONS_H

#include <stdbool.h>

#include "code.h"
#include "cycles.h"

#define EXCEPTIONS 166
#define SET_WORDS ((EXCEPTIONS + 63) / 64)
#define EXC_RETURN 0xffffffe0u
#define BASIC_FRAME 32
#define FIRST_IN_LOG 32
#define THEN_EVERY 1024
#define NO_EXCEPTION 0u
#define EXCEPTION_EXIT 8 /* Unicorn's number of an exception return */
#define MAY_READ 1u      /* Unicorn's permissions */
#define MAY_WRITE 2u

enum { NMI = 2, HARD_FAULT = 3, SVCALL = 11, PENDSV = 14, SYSTICK = 15, FIRST_INTERRUPT = 16 };
enum { TO_HANDLER = 1, TO_THREAD = 9, TO_PROCESS = 13, TO_BASIC_FRAME = 16 };
enum { NPRIV = 1, SPSEL = 2, FPCA = 4 };                    /* CONTROL */
enum { NONBASETHRDENA = 1, STKALIGN = 1 << 9 };             /* CCR */
enum { SLEEPONEXIT = 1 << 1 };                              /* SCR */
enum { STEADY_NEVER, STEADY_PRIVILEGED, STEADY_ALWAYS };    /* nvic_state.Steady */
enum { IPSR = 0x1ff, STACK_ALIGNED = 1 << 9, T = 1 << 24 }; /* xPSR */
#define FLAGS 0xf0000000u
#define IT_OF(xpsr) (((xpsr) >> 8 & 0xfc) | ((xpsr) >> 25 & 3))

/* Mirrored field by field in nvic_state.py. */
struct nvic {
    uint64_t enabled[SET_WORDS], pending[SET_WORDS], levels[SET_WORDS], late[SET_WORDS];
    uint64_t taken[EXCEPTIONS];
    uint32_t vtor, ccr, scr, prigroup, event, steady, depth;
    uint16_t active[EXCEPTIONS];
    uint8_t priorities[EXCEPTIONS];
};

/* Places in the lists of registers that m4_registers.py gives. */
enum { FRAME_PC = 6, FRAME_XPSR = 7, CONTROL = 8, STACK, PRIMASK, FAULTMASK, BASEPRI, STATE_SIZE };
enum { PROCESS_STACK = STATE_SIZE, LEAVE_STATE_SIZE, ENTRY_SIZE = 11, RETURN_SIZE = 16 };
#define LARGEST_BATCH 16

typedef int (*batch_fn)(void *, const int *, void **, int);
typedef int (*ctl_fn)(void *, int, ...);

/* Mirrored field by field in native_exceptions.py. */
struct exceptions {
    struct nvic *nvic;
    const uint32_t *serves; /* of the core's port: no instruction is given up */
    batch_fn read, write;
    ctl_fn ctl;
    int32_t remove_cache; /* the control that drops translations */
    uint32_t unmasking;   /* the traps that are on while something pending is masked */
    uint32_t entry_cycles, return_cycles, tail_chain_cycles;
    int32_t state[LEAVE_STATE_SIZE], entry[ENTRY_SIZE], to_return[RETURN_SIZE];
};

/* -- which exception (nvic.py) -- */

static bool is_in(const uint64_t *set, uint32_t number) {
    return set[number / 64] >> number % 64 & 1;
}

static void put(uint64_t *set, uint32_t number, bool member) {
    uint64_t bit = (uint64_t)1 << number % 64;
    set[number / 64] = member ? set[number / 64] | bit : set[number / 64] & ~bit;
}

static int32_t priority(const struct nvic *nvic, uint32_t number) {
    return number == HARD_FAULT ? -1 : number == NMI ? -2 : nvic->priorities[number];
}

static int32_t group(const struct nvic *nvic, int32_t priority) {
    return priority < 0 ? priority : priority & (0xff << (nvic->prigroup + 1) & 0xff);
}

/* The priority of what runs, or of what would run if `without` were not active. */
static int32_t execution_priority(const struct nvic *nvic, const uint32_t *masks, uint32_t without) {
    int32_t lowest = 256;
    for (uint32_t i = 0; i < nvic->depth; i++) {
        int32_t candidate = group(nvic, priority(nvic, nvic->active[i]));
        if (nvic->active[i] != without && candidate < lowest)
            lowest = candidate;
    }
    if (masks[BASEPRI] & 0xff && group(nvic, masks[BASEPRI] & 0xff) < lowest)
        lowest = group(nvic, masks[BASEPRI] & 0xff);
    if (masks[PRIMASK] & 1 && lowest > 0)
        lowest = 0;
    return masks[FAULTMASK] & 1 && lowest > -1 ? -1 : lowest;
}

/* The pending exception that preempts, once `returning` (or NO_EXCEPTION) is not active any more. */
static uint32_t takeable(const struct nvic *nvic, const uint32_t *masks, uint32_t returning) {
    uint32_t best = NO_EXCEPTION;
    for (uint32_t word = 0; word < SET_WORDS; word++) {
        uint64_t waiting = nvic->pending[word];
        if (returning != NO_EXCEPTION && word == returning / 64)
            waiting |= nvic->levels[word] & (uint64_t)1 << returning % 64;
        for (waiting &= nvic->enabled[word] & ~nvic->late[word]; waiting; waiting &= waiting - 1) {
            uint32_t number = word * 64 + (uint32_t)__builtin_ctzll(waiting);
            if (best == NO_EXCEPTION || priority(nvic, number) < priority(nvic, best))
                best = number;
        }
    }
    if (best == NO_EXCEPTION)
        return best;
    return group(nvic, priority(nvic, best)) < execution_priority(nvic, masks, returning) ? best : NO_EXCEPTION;
}

/* -- the state of the core -- */

static void batch(batch_fn function, const struct lane *lane, const int32_t *registers, uint32_t *values, int count) {
    void *places[LARGEST_BATCH];
    for (int i = 0; i < count; i++)
        places[i] = &values[i];
    function((void *)(uintptr_t)lane->handle, registers, places, count);
}

static uint8_t *memory_at(const struct lane *lane, uint32_t address, uint32_t size, uint32_t right) {
    for (uint32_t i = 0; i < lane->ranges; i++) {
        const struct range *r = &lane->range[i];
        if (address >= r->base && address + (uint64_t)size <= r->base + r->size)
            return r->rights & right ? (uint8_t *)(uintptr_t)(r->host + (address - r->base)) : NULL;
    }
    return NULL;
}

static bool in_log(uint64_t count) {
    return count <= FIRST_IN_LOG || count % THEN_EVERY == 0;
}

/* Whether the entry of `number` is one for this file, and where its handler begins. */
static bool is_ordinary(const struct lane *lane, uint32_t number, const uint8_t **vector) {
    const struct nvic *nvic = lane->exceptions->nvic;
    if (number < PENDSV || in_log(nvic->taken[number] + 1))
        return false;
    *vector = memory_at(lane, nvic->vtor + 4 * number, 4, MAY_READ);
    return *vector != NULL;
}

static void spend(struct lane *lane, uint32_t cycles) {
    if (!lane->timed)
        return;
    lane->cycles += cycles;
    lane->before = lane->next = NOWHERE;
    lane->refill = 0;
}

/* CortexM4.update_traps: what unmasks has to be noticed while something is masked. */
static void update_traps(struct lane *lane, const uint32_t *masks) {
    const struct nvic *nvic = lane->exceptions->nvic;
    uint64_t waiting = 0;
    for (uint32_t word = 0; word < SET_WORDS; word++)
        waiting |= nvic->pending[word] & nvic->enabled[word];
    lane->traps_on &= ~lane->exceptions->unmasking;
    if (waiting && (masks[PRIMASK] & 1 || masks[FAULTMASK] & 1 || masks[BASEPRI] & 0xff))
        lane->traps_on |= lane->exceptions->unmasking;
}

/* `number` begins on the frame that is there; `stack` is the stack pointer so far. */
static void handle(struct lane *lane, uint32_t number, uint32_t exc_return, const uint8_t *vector, uint32_t stack,
                   const uint32_t *state) {
    struct exceptions *exceptions = lane->exceptions;
    struct nvic *nvic = exceptions->nvic;
    uint32_t handler, control = state[CONTROL];
    memcpy(&handler, vector, sizeof(handler));
    put(nvic->pending, number, false);
    nvic->active[nvic->depth++] = (uint16_t)number;
    nvic->taken[number]++;
    nvic->event = 1;
    lane->it_left = lane->pass_at = 0;
    uint32_t values[ENTRY_SIZE] = {stack, NMI, control & ~(uint32_t)(NPRIV | FPCA), 0, 0, number, control & NPRIV,
                                   exc_return, handler & 1 ? T : 0, handler, state[FRAME_XPSR] & FLAGS};
    batch(exceptions->write, lane, exceptions->entry, values, ENTRY_SIZE);
    update_traps(lane, state);
}

/* -- entry (M4Exceptions.deliver) -- */

/* Take what preempts, if anything does; false where Python has to. The core stands between two instructions. */
static bool deliver(struct lane *lane) {
    struct exceptions *exceptions = lane->exceptions;
    struct nvic *nvic = exceptions->nvic;
    uint32_t state[LEAVE_STATE_SIZE], number, frame, aligned, exc_return, control;
    const uint8_t *vector;
    uint8_t *memory;
    if (nvic->steady == STEADY_NEVER || lane->it_left)
        return false;
    batch(exceptions->read, lane, exceptions->state, state, STATE_SIZE);
    control = state[CONTROL];
    if (state[FAULTMASK] & 1 && nvic->steady != STEADY_ALWAYS)
        return false;
    bool thread = !(state[FRAME_XPSR] & IPSR);
    if (thread && control & NPRIV) /* to which the masks read as zero */
        return false;
    number = takeable(nvic, state, NO_EXCEPTION);
    if (number == NO_EXCEPTION) {
        update_traps(lane, state);
        return true;
    }
    frame = state[STACK] - BASIC_FRAME;
    aligned = nvic->ccr & STKALIGN && frame & 4;
    frame &= aligned ? ~4u : ~0u;
    memory = memory_at(lane, frame, BASIC_FRAME, MAY_WRITE);
    if (control & FPCA || !memory || !is_ordinary(lane, number, &vector))
        return false;
    exc_return = EXC_RETURN | TO_BASIC_FRAME | (!thread ? TO_HANDLER : control & SPSEL ? TO_PROCESS : TO_THREAD);
    state[FRAME_XPSR] = (state[FRAME_XPSR] & ~(uint32_t)STACK_ALIGNED) | (aligned ? STACK_ALIGNED : 0);
    memcpy(memory, state, BASIC_FRAME);
    exceptions->ctl((void *)(uintptr_t)lane->handle, exceptions->remove_cache, (uint64_t)frame,
                    (uint64_t)frame + BASIC_FRAME);
    handle(lane, number, exc_return, vector, frame, state);
    spend(lane, exceptions->entry_cycles);
    return true;
}

/* -- return (M4Exceptions.leave_handler) -- */

static void deactivate(struct nvic *nvic, uint32_t number) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < nvic->depth; i++)
        if (nvic->active[i] != number)
            nvic->active[kept++] = nvic->active[i];
    nvic->depth = kept;
    if (is_in(nvic->levels, number))
        put(nvic->pending, number, true);
    nvic->event = 1;
}

/* Whether the return of `number` by `exc_return` is one for this file. */
static bool may_leave(const struct nvic *nvic, uint32_t number, uint32_t exc_return, const uint32_t *state) {
    uint32_t kind = exc_return & 15, unsteady = kind == TO_HANDLER ? 0 : state[CONTROL] & NPRIV;
    bool is_active = false;
    for (uint32_t i = 0; i < nvic->depth; i++)
        is_active |= nvic->active[i] == number;
    if (!is_active || number < SVCALL || exc_return < EXC_RETURN || !(exc_return & TO_BASIC_FRAME))
        return false;
    if (kind != TO_HANDLER && (nvic->scr & SLEEPONEXIT || (nvic->depth != 1 && !(nvic->ccr & NONBASETHRDENA))))
        return false;
    if (kind != TO_HANDLER && kind != TO_THREAD && kind != TO_PROCESS)
        return false;
    if (number >= PENDSV && in_log(nvic->taken[number]))
        return false;
    return !(state[FAULTMASK] & 1) && nvic->steady >= (unsteady ? STEADY_ALWAYS : STEADY_PRIVILEGED);
}

static void retire(struct lane *lane);
static void leave_it(struct lane *lane, uint32_t address);

/* The branch to EXC_RETURN has retired. */
static void complete(struct lane *lane, uint32_t pc) {
    if (lane->it_left)
        leave_it(lane, pc);
    retire(lane);
}

/* A branch to EXC_RETURN has stopped the core; false where Python has to go on. */
static bool leave_handler(struct lane *lane) {
    struct exceptions *exceptions = lane->exceptions;
    struct nvic *nvic = exceptions->nvic;
    uint32_t state[LEAVE_STATE_SIZE], words[BASIC_FRAME / 4], number, exc_return, frame, chained, it, pc;
    const uint8_t *memory, *vector;
    batch(exceptions->read, lane, exceptions->state, state, LEAVE_STATE_SIZE);
    pc = state[FRAME_PC];
    exc_return = pc | 1;
    number = state[FRAME_XPSR] & IPSR;
    if (!may_leave(nvic, number, exc_return, state))
        return false;
    chained = takeable(nvic, state, number);
    if (chained != NO_EXCEPTION) {
        if (!is_ordinary(lane, chained, &vector))
            return false;
        complete(lane, pc);
        deactivate(nvic, number);
        handle(lane, chained, exc_return, vector, state[STACK], state);
        spend(lane, exceptions->tail_chain_cycles);
        return true;
    }
    bool process = (exc_return & 15) == TO_PROCESS, thread = (exc_return & 15) != TO_HANDLER;
    frame = state[process ? PROCESS_STACK : STACK]; /* a handler is on the main stack */
    memory = memory_at(lane, frame, BASIC_FRAME, MAY_READ);
    if (!memory)
        return false;
    memcpy(words, memory, BASIC_FRAME);
    if (thread == !!(words[7] & IPSR))
        return false;
    complete(lane, pc);
    deactivate(nvic, number);
    frame += BASIC_FRAME + (words[7] & STACK_ALIGNED && nvic->ccr & STKALIGN ? 4 : 0);
    uint32_t control = state[CONTROL] & NPRIV, select = process ? SPSEL : 0;
    uint32_t values[RETURN_SIZE] = {NMI, state[CONTROL] & ~(uint32_t)(NPRIV | FPCA), 0, select, words[0], words[1],
                                    words[2], words[3], words[4], words[5], frame, words[7] & ~(uint32_t)STACK_ALIGNED,
                                    control | select, words[6] | (words[7] & T ? 1 : 0), words[7], words[7] & FLAGS};
    batch(exceptions->write, lane, exceptions->to_return, values, RETURN_SIZE);
    it = IT_OF(words[7]);
    lane->it_left = it & 15 ? 4 - (uint32_t)__builtin_ctz(it) : 0;
    lane->it_pc = words[6];
    lane->it_state = it;
    lane->pass_at = 0;
    spend(lane, exceptions->return_cycles);
    update_traps(lane, state);
    return true;
}

#endif
