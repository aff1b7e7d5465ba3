/* The bytes of the instructions that a core executes, and where it stands in an IT block. */
#ifndef COSIM_CODE_H
#define COSIM_CODE_H

#include "loop.h"

/* Whether `address` lies in a range, whose bytes then are the lane's window. */
static int look_through(struct lane *lane, uint32_t address) {
    for (uint32_t i = 0; i < lane->ranges; i++) {
        const struct range *r = &lane->range[i];
        if (address - r->base < r->size) {
            lane->window = (const uint8_t *)(uintptr_t)r->host;
            lane->window_base = (uint32_t)r->base;
            lane->window_size = (uint32_t)r->size - 3;
            return 1;
        }
    }
    return 0;
}

static uint32_t halfword(struct lane *lane, uint32_t address) {
    uint16_t value;
    address &= ~1u;
    if ((!lane->window_size || address - lane->window_base >= lane->window_size + 3) && !look_through(lane, address))
        return 0;
    memcpy(&value, lane->window + (address - lane->window_base), sizeof(value));
    return value;
}

/* The 16 or 32 bits at `address`, the first halfword in the lower half; of 16 the upper half may hold what follows. */
static inline uint32_t code_at(struct lane *lane, uint32_t address, uint32_t size) {
    uint32_t offset = address - lane->window_base, word;
    if (LIKELY(offset < lane->window_size)) {
        memcpy(&word, lane->window + offset, sizeof(word));
        return word;
    }
    word = halfword(lane, address);
    return size == 4 ? word | halfword(lane, address + 2) << 16 : word;
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

/* The 16-bit instruction `code` at `address` begins: does it open an IT block? */
static inline void open_it(struct lane *lane, uint32_t address, uint32_t code) {
    if ((code & 0xff00) == 0xbf00 && (code & 0xf)) {
        lane->it_left = 4 - (uint32_t)__builtin_ctz(code & 0xf);
        lane->it_pc = address + 2;
        lane->it_state = code & 0xff;
    }
}

#endif
