/* The hook of a watchpoint: Unicorn calls it for what begins up to seven bytes before (watch.py). */
#ifndef COSIM_WATCH_H
#define COSIM_WATCH_H

#include "loop.h"

/* Mirrored in watch.py. */
struct watch {
    uint64_t begin, end;
    void (*touched)(void);
};

EXPORT void cosim_watch_access(void *uc, int access, uint64_t address, int size, int64_t value, void *user) {
    const struct watch *watch = user;
    (void)uc, (void)access, (void)value;
    if (address < watch->end && watch->begin < address + (uint64_t)size)
        watch->touched();
}

#endif
