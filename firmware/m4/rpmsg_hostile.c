/*
 * RPMsg firmware that breaks the rules: announces the channel "hostile" as it should, then does what `hostile_mode` says,
 * which a test sets in the ELF file before it is signed. Each mode is one that a host has to survive.
 */
#include <stdint.h>

#include "faults.h"
#include "mailbox.h"
#include "report.h"
#include "resource_table.h"
#include "rpmsg.h"
#include "stm32mp15.h"

#define ADDRESS 0x400u
#define FIRST_HOST_ADDRESS 0x400u
#define NAME_SERVICE 53u
#define DESC_F_NEXT 1u
#define CHANNELS 1000u
#define IPCC_C2TOC1SR 0x4c00101cu

enum hostile_mode {
    USED_INDEX,       /* the used index runs a thousand ahead */
    ID_RANGE,         /* a descriptor that does not exist is given back */
    NOT_A_HEAD,       /* a buffer of the host is given back twice */
    USED_LENGTH,      /* more bytes were written than the buffer has */
    CHAIN_LOOP,       /* a descriptor's next is itself */
    CHAIN_RANGE,      /* a descriptor's next lies behind the table */
    DESCRIPTOR,       /* a buffer is moved to where Linux lives */
    MESSAGE_LENGTH,   /* a message claims 64 KiB */
    SHORT_ANNOUNCE,   /* an announcement of 7 bytes */
    MANY_CHANNELS,    /* a thousand channels */
    MAILBOX_FLOOD,    /* doorbells without end and without a message */
    MESSAGE_FLOOD,    /* messages without end */
    INDEX_RUNAWAY,    /* the used index never stops */
    RINGS_WIPED,      /* the rings are overwritten with ones */
};

/* Volatile, so that the code reads what the test put there. */
const volatile uint32_t hostile_mode = USED_INDEX;

struct descriptor {
    uint32_t address;
    uint32_t address_high;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
};

static volatile struct descriptor *descriptors;
static volatile uint16_t *avail, *used;
static uint32_t num;

int main(void);

/* Take ring 0 (to the host) or 1 (from it). */
static void find_ring(uint32_t number)
{
    const volatile struct fw_rsc_vdev_vring *ring =
        &((const volatile struct firmware_table *)&resource_table)->vdev.vring[number];
    uint32_t base = ring->da;

    num = ring->num;
    descriptors = (volatile struct descriptor *)base;
    avail = (volatile uint16_t *)(base + 16u * num);
    used = (volatile uint16_t *)((base + 16u * num + 2u * (3u + num) + ring->align - 1u) & ~(ring->align - 1u));
}

static uint32_t next_head(void)
{
    return avail[2u + (used[1] & (num - 1u))];
}

static void give(uint32_t id, uint32_t length)
{
    volatile uint32_t *element = (volatile uint32_t *)(used + 2) + 2u * (used[1] & (num - 1u));

    element[0] = id;
    element[1] = length;
    __asm volatile("dmb" ::: "memory");
    used[1]++;
    mailbox_ring(MAILBOX_VQ0);
}

static void message(uint32_t destination, uint32_t claimed, uint32_t length)
{
    uint32_t head = next_head();
    volatile uint32_t *words = (volatile uint32_t *)descriptors[head].address;

    words[0] = ADDRESS;
    words[1] = destination;
    words[2] = 0;
    words[3] = claimed;
    give(head, length);
}

static void many_channels(void)
{
    char name[] = "channel-000";

    for (uint32_t i = 0; i < CHANNELS; i++) {
        name[8] = (char)('0' + i / 100u);
        name[9] = (char)('0' + i / 10u % 10u);
        name[10] = (char)('0' + i % 10u);
        rpmsg_announce(name, ADDRESS + 1u + i);
    }
}

static void wipe_rings(void)
{
    for (volatile uint32_t *word = (volatile uint32_t *)descriptors; (volatile uint16_t *)word < used + 2u + 4u * num;
         word++)
        *word = 0xffffffffu;
    mailbox_ring(MAILBOX_VQ0);
}

static void break_rules(void)
{
    static const volatile uint8_t text[] = "flood";
    uint32_t head = next_head();

    switch (hostile_mode) {
    case USED_INDEX:
        used[1] += 1000u;
        mailbox_ring(MAILBOX_VQ0);
        break;
    case ID_RANGE:
        give(0xffffu, 16);
        break;
    case NOT_A_HEAD:
        find_ring(1);
        while (avail[1] == 0)
            ; /* the host has given nothing yet */
        head = next_head();
        give(head, 0);
        give(head, 0);
        break;
    case USED_LENGTH:
        give(head, 0x10000u);
        break;
    case CHAIN_LOOP:
        descriptors[head].flags |= DESC_F_NEXT;
        descriptors[head].next = (uint16_t)head;
        give(head, 16);
        break;
    case CHAIN_RANGE:
        descriptors[head].flags |= DESC_F_NEXT;
        descriptors[head].next = 0x7fffu;
        give(head, 16);
        break;
    case DESCRIPTOR:
        descriptors[head].address = 0xc0000000u;
        give(head, 16);
        break;
    case MESSAGE_LENGTH:
        message(FIRST_HOST_ADDRESS, 0xffffu, 20);
        break;
    case SHORT_ANNOUNCE:
        message(NAME_SERVICE, 7, 23);
        break;
    case MANY_CHANNELS:
        many_channels();
        break;
    case MAILBOX_FLOOD:
        for (;;)
            mailbox_ring(MAILBOX_VQ0);
    case MESSAGE_FLOOD:
        for (;;)
            rpmsg_send(ADDRESS, FIRST_HOST_ADDRESS, text, sizeof(text) - 1u);
    case INDEX_RUNAWAY:
        for (;;) {
            used[1]++;
            mailbox_ring(MAILBOX_VQ0);
        }
    case RINGS_WIPED:
        wipe_rings();
        break;
    default:
        break;
    }
}

int main(void)
{
    faults_enable();
    report_init();
    mailbox_init();
    if (rpmsg_init()) {
        rpmsg_announce("hostile", ADDRESS);
        while (REG32(IPCC_C2TOC1SR) & (1u << MAILBOX_VQ0))
            ; /* the host has not seen the announcement yet */
        report_state(COPRO_STATE_RUN);
        find_ring(0);
        break_rules();
    }
    for (;;)
        __asm volatile("wfi");
}
