/*
 * Copying between physical addresses given by a step: see memory.h.
 */
#include "memory.h"

#include "fault.h"

void copy(uint32_t destination, uint32_t source, uint32_t length)
{
    uint32_t step = ((destination | source) & 3u) == 0 ? 4 : 1;

    while (step == 4 && length >= 32 && fault.kind == FAULT_NONE) {
        __asm volatile("ldmia %0!, {r4-r11}\n\t"
                       "stmia %1!, {r4-r11}"
                       : "+r"(source), "+r"(destination)
                       :
                       : "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "memory");
        length -= 32;
    }
    while (step == 4 && length >= 4 && fault.kind == FAULT_NONE) {
        *(volatile uint32_t *)destination = *(const volatile uint32_t *)source;
        destination += 4;
        source += 4;
        length -= 4;
    }
    while (length != 0 && fault.kind == FAULT_NONE) {
        *(volatile uint8_t *)destination = *(const volatile uint8_t *)source;
        destination++;
        source++;
        length--;
    }
}
