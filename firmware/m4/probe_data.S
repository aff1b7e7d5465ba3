/*
 * Probes of data accesses, instruction fetches, undefined instructions, SVC and the masks.
 */
    .file "probe_data.S"
#include "probe_macros.h"

    /* One faulting access with its address in r1; value 0 is r5 afterwards, value 1 is r1. */
    .macro access name, address, instruction
    probe \name
    resume_at probe_\name\()_resume
    ldr r1, =\address
    ldr r5, =0x5a5a5a5a
probe_\name\()_at:
    \instruction
probe_\name\()_resume:
    strd r5, r1, [r4]
    end_probe
    .endm

    access read, DENIED, "ldr r5, [r1]"
    access read_byte, DENIED + 3, "ldrb r5, [r1]"
    access write, DENIED, "str r5, [r1]"
    access write_double, DENIED + 8, "strd r5, r5, [r1]"
    access read_nothing, NOTHING, "ldr r5, [r1]"
    access write_nothing, NOTHING + 2, "strh r5, [r1]"
    access read_wide, LAST_WORDS, "ldmia r1!, {r5-r8}"
    access write_wide, LAST_WORDS, "stmia r1!, {r5-r8}"
    access read_private, 0xe0050000, "ldr r5, [r1]"
    access breakpoint, 0, "bkpt #0"
    access undefined_16, 0, "udf #1"
    access undefined_32, 0, "udf.w #1"

    /* A branch whose target faults. */
    .macro fetch name, address, branch=blx
    probe \name
    resume_at probe_\name\()_resume
    ldr r1, =\address
    \branch r1
probe_\name\()_resume:
    end_probe
    .endm

    fetch fetch_denied, DENIED + 1
    fetch fetch_nothing, NOTHING + 1
    fetch fetch_never_execute, NEVER_EXECUTE + 1
    fetch fetch_private, 0xe000e001
    fetch exc_return_in_thread, 0xfffffff9, bx
    fetch even_address, probe_even_target, bx

    .section .text.probe_even_target, "ax", %progbits
    .balign 4
    .type probe_even_target, %object /* no function: its address stays even */
    .global probe_even_target
probe_even_target:
    nop
    nop

    /* SVC under the masks: value 0 counts the instructions behind it, value 1 and 2 are PRIMASK and BASEPRI then. */
    .macro supervisor name, mask
    probe \name
    movs r5, #0
    \mask
    isb
    svc #7
probe_\name\()_at:
    adds r5, r5, #1
probe_\name\()_resume:
    mrs r6, primask
    mrs r7, basepri
    cpsie i
    movs r1, #0
    msr basepri, r1
    strd r5, r6, [r4]
    str r7, [r4, #8]
    end_probe
    .endm

    .macro set_basepri value
    movs r1, #\value
    msr basepri, r1
    .endm

    supervisor svc, "nop"
    supervisor svc_primask, "cpsid i"
    supervisor svc_basepri_same, "set_basepri 0x80"
    supervisor svc_basepri_below, "set_basepri 0xa0"

    /* The same for a denied read; value 0 is r5 afterwards. */
    .macro masked_read name, mask
    probe \name
    resume_at probe_\name\()_resume
    ldr r1, =DENIED
    movs r5, #1
    mov r8, r1
    \mask
    isb
probe_\name\()_at:
    ldr r5, [r8]
probe_\name\()_resume:
    mrs r6, primask
    mrs r7, basepri
    cpsie i
    movs r1, #0
    msr basepri, r1
    strd r5, r6, [r4]
    str r7, [r4, #8]
    end_probe
    .endm

    masked_read read_primask, "cpsid i"
    masked_read read_basepri_same, "set_basepri 0x40"
    masked_read read_basepri_below, "set_basepri 0x60"

    /* Steps over what it does, for use inside handlers. */
    .macro leaf name, instruction
    .section .text.probe_\name, "ax", %progbits
    .global probe_\name
    .type probe_\name, %function
    .thumb_func
probe_\name:
    resume_at probe_\name\()_resume
    ldr r1, =DENIED
probe_\name\()_at:
    \instruction
probe_\name\()_resume:
    bx lr
    .ltorg
    .endm

    leaf denied_read, "ldr r0, [r1]"
    leaf undefined, "udf #2"
    leaf supervisor_call, "svc #2"

    .section .text.probe_return, "ax", %progbits
    .global probe_return
    .type probe_return, %function
    .thumb_func
probe_return:
    bx lr
