/* Virtual time of a core: its clock over the rate that the platform file gives (time_of and limit_at of loop.py). */
#ifndef COSIM_CLOCK_H
#define COSIM_CLOCK_H

#include "loop.h"

#define PICOSECONDS 1000000u

static uint64_t limit_at(const struct lane *lane, uint64_t time_ps) {
    if (time_ps <= lane->origin_ps)
        return lane->origin;
    return lane->origin + ((time_ps - lane->origin_ps) * lane->mips + PICOSECONDS - 1) / PICOSECONDS;
}

static uint64_t time_of(const struct lane *lane) {
    return lane->origin_ps + (clock_of(lane) - lane->origin) * PICOSECONDS / lane->mips;
}

#endif
