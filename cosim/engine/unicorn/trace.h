/* What a core executed, into a ring that Python reads (trace.py): each instruction, or each run of them in sequence.
 *
 * The hooks come behind the lane's own, which says what begins. Without a trace nobody calls them.
 */
#ifndef COSIM_TRACE_H
#define COSIM_TRACE_H

#include "clock.h"
#include "code.h"

/* Mirrored in trace.py, like the two that follow; bit 0 of an address says Thumb. */
struct instruction {
    uint64_t time_ps, retired;
    uint32_t address, code;
};

struct run {
    uint64_t time_ps, retired;
    uint32_t address, last, instructions, times;
};

struct trace {
    struct lane *lane;
    void *ring;
    uint64_t count, retired;               /* lines told of; `retired` and `address` when the last instruction began */
    uint32_t most, next, address, follows; /* places in the ring, the one for the next line */
    uint32_t paused, unused;
};

/* The address with the state of the core; 0 for what does not execute, or was told of before the engine acted. */
static inline uint32_t begins(struct trace *trace, uint32_t address, uint32_t size) {
    struct lane *lane = trace->lane;
    uint32_t thumb = size == 2 || !lane->arm_traps || register_value(lane, lane->loop->reg_cpsr) >> 5 & 1;
    if (!lane->busy || trace->paused || (trace->address == (address | thumb) && trace->retired == lane->retired))
        return 0;
    trace->address = address | thumb;
    trace->retired = lane->retired;
    return 1;
}

static inline void advance(struct trace *trace) {
    trace->count++;
    if (++trace->next == trace->most)
        trace->next = 0;
}

EXPORT void cosim_trace_instruction(void *uc, uint64_t address, uint32_t size, void *user) {
    struct trace *trace = user;
    struct instruction *line = (struct instruction *)trace->ring + trace->next;
    uint32_t code;
    (void)uc;
    if (!begins(trace, (uint32_t)address, size))
        return;
    code = code_at(trace->lane, (uint32_t)address, size);
    line->time_ps = time_of(trace->lane);
    line->retired = trace->retired;
    line->address = trace->address;
    line->code = size == 2 ? code & 0xffff : code;
    advance(trace);
}

/* The run at `next` has ended: one that repeats the run before it is counted there. */
static void end_run(struct trace *trace) {
    struct run *ring = trace->ring, *run = ring + trace->next;
    struct run *before = ring + (trace->next ? trace->next : trace->most) - 1;
    if (!run->times)
        return;
    if (trace->count && before != run && before->address == run->address && before->last == run->last &&
        before->times != UINT32_MAX)
        before->times++;
    else
        advance(trace);
}

EXPORT void cosim_trace_run(void *uc, uint64_t address, uint32_t size, void *user) {
    struct trace *trace = user;
    struct run *run = (struct run *)trace->ring + trace->next;
    uint32_t follows = trace->follows;
    (void)uc;
    if (!begins(trace, (uint32_t)address, size))
        return;
    trace->follows = trace->address + size;
    if (trace->address == follows) {
        run->last = trace->address;
        run->instructions++;
        return;
    }
    end_run(trace);
    run = (struct run *)trace->ring + trace->next;
    run->time_ps = time_of(trace->lane);
    run->retired = trace->retired;
    run->address = run->last = trace->address;
    run->instructions = run->times = 1;
}

#endif
