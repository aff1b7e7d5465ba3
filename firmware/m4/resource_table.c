/*
 * The resource table of the demo: one rpmsg VDEV with two vrings that Linux places, and the trace buffer.
 * Where the table lies is the linker script's decision; Linux writes to it while the firmware runs.
 */
#include "resource_table.h"

#include <stddef.h>

#include "report.h"

/* Linux parses the table byte by byte; a padding hole would shift every entry. */
_Static_assert(sizeof(struct firmware_table) == 24 + 68 + 48, "resource table has holes");

__attribute__((section(".resource_table"), used)) const struct firmware_table resource_table = {
    .ver = 1,
    .num = 2,
    .offset = {offsetof(struct firmware_table, vdev), offsetof(struct firmware_table, trace)},
    .vdev =
        {
            .type = RSC_VDEV,
            .id = VIRTIO_ID_RPMSG,
            .dfeatures = VIRTIO_RPMSG_F_NS,
            .num_of_vrings = 2,
            .vring =
                {
                    {.da = FW_RSC_ADDR_ANY, .align = 16, .num = 16, .notifyid = 0},
                    {.da = FW_RSC_ADDR_ANY, .align = 16, .num = 16, .notifyid = 1},
                },
        },
    .trace = {.type = RSC_TRACE, .da = (uint32_t)cosim_trace, .len = TRACE_SIZE, .name = "m4_trace"},
};
