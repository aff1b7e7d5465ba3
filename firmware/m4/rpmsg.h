/*
 * The device side of one RPMsg virtio device: two split rings (virtio 1.0, 2.6), RPMsg headers, name service.
 * Written against the virtio specification and the kernel's include/linux/rpmsg headers; the host owns all buffers.
 */
#ifndef COSIM_RPMSG_H
#define COSIM_RPMSG_H

#include <stdint.h>

#define RPMSG_BUFFER_SIZE 512u
#define RPMSG_HEADER_SIZE 16u
#define RPMSG_MOST_PAYLOAD (RPMSG_BUFFER_SIZE - RPMSG_HEADER_SIZE)

/* A received message; data points into the host's buffer and stays valid until rpmsg_done. */
struct rpmsg_message {
    uint32_t source;
    uint32_t destination;
    uint32_t size;
    const volatile uint8_t *data;
};

/* Wait until the host's driver is ready, then take the rings where the resource table says. 0 when it makes no sense. */
int rpmsg_init(void);

/* Announce a channel at a local address. */
void rpmsg_announce(const char *name, uint32_t address);

/* The next message of the host: 1 when there is one. */
int rpmsg_receive(struct rpmsg_message *message);

/* Give the buffer of the message back. */
void rpmsg_done(void);

/* Send; waits for a buffer as long as the host has none free. Payload beyond RPMSG_MOST_PAYLOAD is cut. */
void rpmsg_send(uint32_t source, uint32_t destination, const volatile uint8_t *data, uint32_t size);

#endif
