/*
 * RPMsg on split rings: see rpmsg.h.
 * Ring 0 carries messages to the host, ring 1 messages from it; in both the host adds buffers and this side uses them.
 */
#include "rpmsg.h"

#include "mailbox.h"
#include "resource_table.h"

#define STATUS_DRIVER_OK 4u
#define DESC_F_WRITE 2u
#define AVAIL_F_NO_INTERRUPT 1u
#define NAME_SERVICE 53u
#define MOST_DESCRIPTORS 256u

struct descriptor {
    uint32_t address;
    uint32_t address_high;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
};

struct used_element {
    uint32_t id;
    uint32_t length;
};

struct header {
    uint32_t source;
    uint32_t destination;
    uint32_t reserved;
    uint16_t length;
    uint16_t flags;
};

struct ring {
    const volatile struct descriptor *descriptors;
    const volatile uint16_t *avail; /* flags, index, then the ring */
    volatile uint16_t *used;        /* flags, index, then elements */
    uint32_t num;
    uint16_t next; /* the avail entry that comes next */
    uint16_t head; /* the descriptor in hand */
};

static struct ring to_host, from_host;

/* The table is const for the linker; the host writes to it while this runs. */
static const volatile struct fw_rsc_vdev *vdev(void)
{
    return &((const volatile struct firmware_table *)&resource_table)->vdev;
}

static int ring_init(struct ring *ring, const volatile struct fw_rsc_vdev_vring *where)
{
    uint32_t num = where->num;
    uint32_t align = where->align;
    uint32_t base = where->da;

    if (num == 0 || num > MOST_DESCRIPTORS || (num & (num - 1)) || (align & (align - 1)) || align < 4 ||
        base == FW_RSC_ADDR_ANY)
        return 0;
    ring->descriptors = (const volatile struct descriptor *)base;
    ring->avail = (const volatile uint16_t *)(base + 16u * num);
    ring->used = (volatile uint16_t *)((base + 16u * num + 2u * (3u + num) + align - 1u) & ~(align - 1u));
    ring->num = num;
    ring->next = 0;
    return 1;
}

/* Take the next buffer of the host; 0 when there is none, or when the host wrote nonsense. */
static const volatile struct descriptor *ring_take(struct ring *ring)
{
    if (ring->avail[1] == ring->next)
        return 0;
    __asm volatile("dmb" ::: "memory");
    ring->head = ring->avail[2u + (ring->next & (ring->num - 1u))];
    if (ring->head >= ring->num)
        return 0;
    return &ring->descriptors[ring->head];
}

/* Give the buffer in hand back, with the number of bytes written; 1 when the host wants to be told. */
static int ring_give(struct ring *ring, uint32_t length)
{
    volatile struct used_element *elements = (volatile struct used_element *)(ring->used + 2);
    uint16_t index = ring->used[1];

    elements[index & (ring->num - 1u)].id = ring->head;
    elements[index & (ring->num - 1u)].length = length;
    __asm volatile("dmb" ::: "memory");
    ring->used[1] = (uint16_t)(index + 1u);
    ring->next++;
    return !(ring->avail[0] & AVAIL_F_NO_INTERRUPT);
}

int rpmsg_init(void)
{
    while (!(vdev()->status & STATUS_DRIVER_OK))
        if (mailbox_shutdown_asked())
            return 0;
    return ring_init(&to_host, &vdev()->vring[0]) && ring_init(&from_host, &vdev()->vring[1]);
}

void rpmsg_announce(const char *name, uint32_t address)
{
    volatile uint8_t announcement[40]; /* name[32], address, flags */
    uint32_t length = 0;

    for (uint32_t i = 0; i < sizeof(announcement); i++)
        announcement[i] = 0;
    for (; length < 31u && name[length] != '\0'; length++)
        announcement[length] = (uint8_t)name[length];
    for (uint32_t i = 0; i < 4u; i++)
        announcement[32u + i] = (uint8_t)(address >> (8u * i));
    rpmsg_send(address, NAME_SERVICE, announcement, sizeof(announcement));
}

int rpmsg_receive(struct rpmsg_message *message)
{
    const volatile struct descriptor *buffer = ring_take(&from_host);
    const volatile struct header *header;

    if (buffer == 0)
        return 0;
    header = (const volatile struct header *)buffer->address;
    message->source = header->source;
    message->destination = header->destination;
    message->size = header->length > RPMSG_MOST_PAYLOAD ? RPMSG_MOST_PAYLOAD : header->length;
    message->data = (const volatile uint8_t *)(header + 1);
    return 1;
}

void rpmsg_done(void)
{
    if (ring_give(&from_host, 0))
        mailbox_ring(MAILBOX_VQ1);
}

void rpmsg_send(uint32_t source, uint32_t destination, const volatile uint8_t *data, uint32_t size)
{
    const volatile struct descriptor *buffer;
    volatile struct header *header;
    volatile uint8_t *payload;

    if (size > RPMSG_MOST_PAYLOAD)
        size = RPMSG_MOST_PAYLOAD;
    while ((buffer = ring_take(&to_host)) == 0)
        if (mailbox_shutdown_asked())
            return;
    if (!(buffer->flags & DESC_F_WRITE) || buffer->length < RPMSG_HEADER_SIZE + size)
        return;
    header = (volatile struct header *)buffer->address;
    header->source = source;
    header->destination = destination;
    header->reserved = 0;
    header->length = (uint16_t)size;
    header->flags = 0;
    payload = (volatile uint8_t *)(header + 1);
    for (uint32_t i = 0; i < size; i++)
        payload[i] = data[i];
    if (ring_give(&to_host, RPMSG_HEADER_SIZE + size))
        mailbox_ring(MAILBOX_VQ0);
}
