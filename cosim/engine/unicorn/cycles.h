/* Cycles of instructions as they execute: cosim/timing/counter.py in C, from the costs that it makes. */
#ifndef COSIM_CYCLES_H
#define COSIM_CYCLES_H

#include "code.h"

#define ALL_TRAPS 0xffffffffu

enum { WIDE = 1, LEAVES = 2, DIVIDE = 4, SIGNED = 8, FPU = 16, FPU_DIVIDE = 32, SWITCHES = 64, UNKNOWN = 128 };
#define UNSEEN (-128)
#define NOWHERE 0xffffffffu
#define UNSURE 2u /* of `thumb` */
#define WRITES 0x80u /* of `access` */
#define PC 15

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
static NOINLINE struct cost *look_up(struct lane *lane, uint32_t address, uint32_t size, uint32_t code) {
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
        *code = code_at(lane, address, size) & (size == 4 ? 0xffffffffu : 0xffffu);
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

/* What depends on more than the bytes: the state of the FPU and the operands of a divide. */
static NOINLINE uint32_t dynamic_cycles(struct lane *lane, const struct cost *cost) {
    uint32_t wait;
    if (cost->flags & DIVIDE) {
        const int32_t *reg = lane->loop->reg;
        uint32_t dividend = register_value(lane, reg[cost->operands >> 4]);
        uint32_t divisor = register_value(lane, reg[cost->operands & 15]);
        return divide_cycles(lane, dividend, divisor, cost->flags & SIGNED) - cost->cycles;
    }
    wait = lane->fpu_free > lane->cycles ? (uint32_t)(lane->fpu_free - lane->cycles) : 0;
    if (!(cost->flags & FPU_DIVIDE))
        return wait;
    lane->then_fpu_free = lane->cycles + wait + cost->cycles;
    return wait + 1 - cost->cycles;
}

static uint32_t access_register(const struct lane *lane, uint32_t number) {
    return number < PC ? register_value(lane, lane->loop->reg[number]) : 0;
}

/* Alignment and wait states of a load or store (CycleCounter.reached and .access). */
static NOINLINE uint32_t access_cycles(const struct lane *lane, const struct cost *cost, uint32_t address) {
    uint32_t size = cost->access & ~WRITES, further = 0;
    uint32_t at = cost->base == PC ? (address & ~3u) + 4 : access_register(lane, cost->base);
    at += (access_register(lane, cost->index) << cost->shift) + (uint32_t)(int32_t)cost->displacement;
    if (cost->words == 1 && at & (size - 1))
        further = size == 2 ? lane->unaligned_halfword : at & 1 ? lane->unaligned_odd : lane->unaligned_even;
    for (uint32_t i = 0; i < lane->waits; i++) {
        const struct waits *region = &lane->wait[i];
        if (at - region->base < region->size)
            return further + (cost->access & WRITES ? region->write : region->read) * (cost->words + further);
    }
    return further;
}

#endif
