/*
 * The resource table as Linux defines it (include/linux/remoteproc.h), reduced to the entries of this firmware.
 */
#ifndef COSIM_RESOURCE_TABLE_H
#define COSIM_RESOURCE_TABLE_H

#include <stdint.h>

#define RSC_TRACE 2u
#define RSC_VDEV 3u
#define VIRTIO_ID_RPMSG 7u
#define VIRTIO_RPMSG_F_NS (1u << 0)
#define FW_RSC_ADDR_ANY 0xffffffffu

struct fw_rsc_vdev_vring {
    uint32_t da;
    uint32_t align;
    uint32_t num;
    uint32_t notifyid;
    uint32_t pa;
};

struct fw_rsc_vdev {
    uint32_t type;
    uint32_t id;
    uint32_t notifyid;
    uint32_t dfeatures;
    uint32_t gfeatures;
    uint32_t config_len;
    uint8_t status;
    uint8_t num_of_vrings;
    uint8_t reserved[2];
    struct fw_rsc_vdev_vring vring[2];
};

struct fw_rsc_trace {
    uint32_t type;
    uint32_t da;
    uint32_t len;
    uint32_t reserved;
    char name[32];
};

struct firmware_table {
    uint32_t ver;
    uint32_t num;
    uint32_t reserved[2];
    uint32_t offset[2];
    struct fw_rsc_vdev vdev;
    struct fw_rsc_trace trace;
};

extern const struct firmware_table resource_table;

#endif
