/*
 * Attempts of the M4 to use memory that belongs to the secure world: see ddr_probe.h.
 * Each access is one instruction of known effect, so that a fault handler can step over it.
 */
#include "ddr_probe.h"

#include "faults.h"
#include "report.h"
#include "stm32mp15.h"

/* Stays in the register when the read faults, which tells "faulted" from "read as zero". */
#define NOT_READ 0x5a5a5a5au

static uint32_t probe_write(uint32_t address, uint32_t value)
{
    /* DSB: a buffered write must fault here and not later. */
    __asm volatile("str %1, [%0]\n\tdsb" : : "r"(address), "r"(value) : "memory");
    return value;
}

static uint32_t probe_read(uint32_t address, uint32_t value)
{
    __asm volatile("ldr %0, [%1]\n\tdsb" : "+r"(value) : "r"(address) : "memory");
    return value;
}

static uint32_t probe_fetch(uint32_t address, uint32_t value)
{
    __asm volatile("blx %0" : : "r"(address | 1u) : "r0", "r1", "r2", "r3", "r12", "lr", "cc", "memory");
    return value;
}

static void probe(const char *name, uint32_t (*access)(uint32_t, uint32_t), uint32_t value)
{
    uint32_t before = cosim_fault_count;

    fault_expected = 1;
    value = access(DDR_SECURE_BASE, value);
    fault_expected = 0;
    report_text("m4: secure DDR ");
    report_text(name);
    report_text(" at ");
    report_hex(DDR_SECURE_BASE);
    if (cosim_fault_count == before) {
        report_text(": no fault");
        if (access == probe_read) {
            report_text(", value ");
            report_hex(value);
        }
    } else {
        report_text(": fault, CFSR ");
        report_hex(cosim_fault_cfsr);
        if (cosim_fault_cfsr & SCB_CFSR_BFARVALID) {
            report_text(" BFAR ");
            report_hex(cosim_fault_bfar);
        }
        report_text(" PC ");
        report_hex(cosim_fault_pc);
    }
    report_text("\n");
}

void ddr_probe(void)
{
    probe("write", probe_write, 0xc0517ab1u);
    probe("read", probe_read, NOT_READ);
    probe("fetch", probe_fetch, 0);
}
