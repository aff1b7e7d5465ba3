/* Accesses that are remembered: access_port.py in C; native_port.py hands it over. Each is made by a function of Python,
 * or without it where it is nothing but a load or a store of a word that a model keeps (cosim.registers.Cell).
 */
#ifndef COSIM_PORT_H
#define COSIM_PORT_H

#include <stdbool.h>

#include "clock.h"

#define KNOWN 256

struct known {
    uint64_t key; /* 16 * address + size, 0 for none */
    void *call;
    uint32_t *word; /* NULL for none */
    uint32_t mask, shift;
};

typedef bool (*access_fn)(void *, int, uint64_t, int, int64_t, void *);

/* Functions of Python's C API, by their names there. */
struct python {
    int (*ensure)(void);
    void (*release)(int);
    void *(*call)(void *);
    void *(*call_with)(void *, ...);
    long long (*as_number)(void *);
    void *(*number)(long long);
    void (*inc_ref)(void *);
    void (*dec_ref)(void *);
    void (*clear_error)(void);
    void (*interrupt)(void);
};

/* Mirrored field by field in native_port.py. */
struct port {
    uint64_t value;
    uint32_t read_at, serves;
    int32_t reading, writing;
    struct lane *lane;
    const uint64_t *next_ps; /* when the next alarm is due */
    access_fn other;
    struct python python;
    struct known known[2][KNOWN]; /* reads, writes */
};

static uint32_t place_of(uint32_t address) {
    return (address >> 2 ^ address >> 10 ^ address >> 18) % KNOWN;
}

/* Whether a core that follows in each turn must first catch up (UnicornEngine.must_wait). */
static bool must_wait(const struct lane *lane) {
    const struct loop *loop = lane->loop;
    uint64_t now = time_of(lane);
    uint32_t i = 0;
    while (i < loop->lanes && loop->lane[i] != lane)
        i++;
    for (i++; i < loop->lanes; i++) {
        const struct lane *other = loop->lane[i];
        if (other->fresh || (other->runnable && clock_of(other) < limit_at(other, now)))
            return true;
    }
    return false;
}

/* What the function gives, -1 when the instruction is given up; false when an error kept it from being called. */
static bool call(const struct python *python, void *function, const uint64_t *argument, long long *result) {
    int state = python->ensure();
    void *number = argument ? python->number((long long)*argument) : NULL, *returned;
    python->inc_ref(function); /* what it does may make the port forget it */
    returned = argument ? python->call_with(function, number, NULL) : python->call(function);
    if (returned) {
        *result = python->as_number(returned);
        python->dec_ref(returned);
    } else { /* it catches all that it meets: this is Ctrl-C before its first line, which comes again */
        python->clear_error();
        python->interrupt();
    }
    if (number)
        python->dec_ref(number);
    python->dec_ref(function);
    python->release(state);
    return returned != NULL;
}

/* Whether there is nothing to an access but its word. */
static bool is_plain(const struct port *port, const struct known *known) {
    return known->word && !port->lane->it_left &&
           (*port->next_ps == UINT64_MAX || time_of(port->lane) < *port->next_ps);
}

EXPORT uint32_t cosim_port_place(uint32_t address) {
    return place_of(address);
}

/* Unicorn's hook of invalid accesses: whether it may go on. */
EXPORT bool cosim_port_access(void *uc, int access, uint64_t address, int size, int64_t value, void *user) {
    struct port *port = user;
    bool writes = access == port->writing;
    const struct known *known = &port->known[writes][place_of((uint32_t)address)];
    if (port->serves && (writes || access == port->reading) && known->key == (address << 4 | (uint32_t)size) &&
        !must_wait(port->lane)) {
        uint64_t argument = (uint64_t)value & (UINT64_MAX >> (64 - 8 * size));
        long long result;
        if (is_plain(port, known)) {
            if (writes) {
                *known->word = (*known->word & ~known->mask) | ((uint32_t)argument << known->shift & known->mask);
            } else {
                port->value = (*known->word & known->mask) >> known->shift;
                port->read_at = (uint32_t)address;
            }
            return true;
        }
        if (call(&port->python, known->call, writes ? &argument : NULL, &result)) {
            if (!writes && result >= 0) {
                port->value = (uint64_t)result;
                port->read_at = (uint32_t)address;
            }
            return result >= 0;
        }
    }
    return port->other(uc, access, address, size, value, NULL);
}

/* Unicorn's read of an MMIO mapping, whose base is a page's; it asks for an unaligned value in aligned parts. */
EXPORT uint64_t cosim_port_read(void *uc, uint64_t offset, unsigned size, void *user) {
    const struct port *port = user;
    int32_t shift = (int32_t)(((uint32_t)offset - port->read_at) << 20) >> 20;
    uint64_t value;
    (void)uc;
    if (shift < -7 || shift > 7)
        return 0;
    value = shift >= 0 ? port->value >> 8 * shift : port->value << -8 * shift;
    return value & (UINT64_MAX >> (64 - 8 * size));
}

#endif
