/* Instructions at which a lane stops for the engine (traps.py). */
#ifndef COSIM_TRAPS_H
#define COSIM_TRAPS_H

#include "code.h"

/* What an encoding may be of interest for: traps, on or not, and OPENS_IT. */
static inline uint32_t interest(const struct lane *lane, uint32_t size, uint32_t code) {
    return lane->filter[0][code >> 8 & 0xff] | (size == 4 ? lane->filter[1][code >> 20 & 0xff] : 0);
}

/* SP and PC are always aligned (ARMv7-M manual, B1.4.1); a field of a 16-bit instruction has three bits. */
static int is_unaligned(const struct lane *lane, const struct trap *trap, uint32_t opcode) {
    uint32_t number = opcode >> trap->unaligned & (trap->size == 2 ? 7 : 15);
    return number != 13 && number != 15 && register_value(lane, lane->loop->reg[number]) & 3;
}

/* Whether the single load or store `opcode` accesses an address that is no multiple of its size (traps.reach). */
static int is_misplaced(const struct lane *lane, uint32_t size, uint32_t opcode) {
    static const uint8_t sizes_16[] = {4, 2, 1, 1, 4, 2, 1, 2}, sizes[] = {1, 2, 4, 1};
    const uint32_t none = 15;
    uint32_t base = size == 2 ? opcode >> 3 & 7 : opcode >> 16 & 15, index = none, shift = 0, address = 0;
    uint32_t bytes = size == 4 ? sizes[opcode >> 21 & 3] : opcode >> 12 == 6 ? 4 : 2;
    if (size == 2 && opcode >> 12 == 5) {
        bytes = sizes_16[opcode >> 9 & 7];
        index = opcode >> 6 & 7;
    } else if (size == 4 && opcode >> 24 == 0xe8) { /* LDREXH, STREXH */
        bytes = 2;
    } else if (size == 4 && (base == none || opcode >> 23 & 1)) {
        address = opcode >> 23 & 1 ? opcode & 0xfff : 0 - (opcode & 0xfff);
    } else if (size == 4 && opcode & 0x800) {
        address = !(opcode & 0x400) ? 0 : opcode & 0x200 ? opcode & 0xff : 0 - (opcode & 0xff);
    } else if (size == 4) {
        index = opcode & 15;
        shift = opcode >> 4 & 3;
    }
    if (bytes == 1)
        return 0;
    if (base != none) /* PC as a base is a multiple of four */
        address += register_value(lane, lane->loop->reg[base]);
    if (index != none)
        address += register_value(lane, lane->loop->reg[index]) << shift;
    return (address & (bytes - 1)) != 0;
}

static int matches(const struct lane *lane, const struct trap *trap, uint32_t size, uint32_t code) {
    uint32_t opcode = size == 2 ? code & 0xffff : trap->arm ? code : code << 16 | code >> 16;
    if (trap->size != size || (opcode & trap->mask) != trap->value)
        return 0;
    if (size == 4 && lane->arm_traps && (register_value(lane, lane->loop->reg_cpsr) >> 5 & 1) == trap->arm)
        return 0;
    if (trap->zero != NO_REGISTER && register_value(lane, lane->loop->reg[opcode >> trap->zero & 15]))
        return 0;
    if (trap->misplaced)
        return is_misplaced(lane, size, opcode);
    return trap->unaligned == NO_REGISTER || is_unaligned(lane, trap, opcode);
}

/* `code` at `address` begins; `candidates`: the traps that the first-level table lets through. */
static NOINLINE void check_traps(struct lane *lane, uint32_t address, uint32_t size, uint32_t code, uint32_t candidates) {
    if (lane->trap) /* the rest of an IT block that was given up */
        return;
    if (lane->pass_at == (address | 1)) {
        lane->pass_at = 0;
        return;
    }
    for (; candidates; candidates &= candidates - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(candidates);
        if (!matches(lane, &lane->traps[i], size, code))
            continue;
        lane->trap = i + 1;
        lane->attention = 1;
        if (lane->traps[i].after) {
            lane->limit = 0;
            return;
        }
        lane->busy = 0;
        if (lane->it_left) {
            lane->limit = 0;
            lane->in_block();
        } else {
            lane->loop->stop((void *)(uintptr_t)lane->handle);
        }
        return;
    }
}

#endif
