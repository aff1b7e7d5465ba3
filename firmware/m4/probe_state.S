/*
 * Probes of what an exception must preserve and put back: FP context, IT state, stack alignment, the two stacks.
 */
    .file "probe_state.S"
#include "probe_macros.h"

    .equ FPSCR_PATTERN, 0xb7c0009f  /* every bit that the FPv4-SP has */

    .section .rodata.fp_pattern, "a", %progbits
    .balign 4
fp_pattern:
    .set value, 0x3f800001
    .rept 32
    .word value
    .set value, value + 0x01010101
    .endr

    .section .bss.fp_found, "aw", %nobits
    .balign 4
fp_found:
    .space 128

    /* Value 0: FP registers that differ afterwards, value 1: FPSCR, value 2: CONTROL. */
    .macro floating name, instruction
    probe \name
    resume_at probe_\name\()_resume
    ldr r5, =fp_pattern
    vldmia r5, {s0-s31}
    ldr r1, =FPSCR_PATTERN
    vmsr fpscr, r1
    ldr r1, =DENIED
probe_\name\()_at:
    \instruction
probe_\name\()_resume:
    mrs r7, control
    vmrs r6, fpscr
    ldr r8, =fp_found
    vstmia r8, {s0-s31}
    movs r0, #0
    movs r1, #32
1:  ldr r2, [r5], #4
    ldr r3, [r8], #4
    cmp r2, r3
    it ne
    addne r0, r0, #1
    subs r1, r1, #1
    bne 1b
    strd r0, r6, [r4]
    str r7, [r4, #8]
    movs r1, #0
    msr control, r1
    isb
    vmsr fpscr, r1
    msr control, r1
    isb
    end_probe
    .endm

    floating fp_svc, "svc #0"
    floating fp_fault, "ldr r9, [r1]"

    /* No FP context before: value 2 is CONTROL after the handler used the FPU. */
    probe fp_unused
    svc #0
probe_fp_unused_at:
    mrs r7, control
    str r7, [r4, #8]
    end_probe

    /* A fault at probe_<name>_at, most often the second member of the block; the handler repairs r1 and returns to it. Values: r5, r6, r7, r8. */
    .macro in_it name, block, first, second, third, fourth=nop
    probe \name
    movs r5, #0
    movs r6, #0
    movs r7, #0
    mov r8, r7
    movs r2, #0
    ldr r1, =DENIED
    cmp r5, #0                      /* EQ holds */
    \block
    \first
probe_\name\()_at:
    \second
    \third
    \fourth
    strd r5, r6, [r4]
    strd r7, r8, [r4, #8]
    end_probe
    .endm

    in_it it_ittt, "ittt eq", "moveq r5, #1", "ldreq r6, [r1]", "moveq r7, #3"
    in_it it_itete, "itete ne", "movne r5, #1", "ldreq r6, [r1]", "movne r7, #3", "moveq r8, #4"
    in_it it_first, nop, "ite eq", "ldreq r6, [r1]", "movne r5, #1", "movs r7, #3"
    in_it it_last, "itt eq", "moveq r5, #1", "ldreq r6, [r1]", "movs r7, #3"
    in_it it_skipped, "itet ne", "ldrne r6, [r1]", "moveq r5, #1", "strne r6, [r1]", "movs r8, #4"
    in_it it_store, "itttt eq", "moveq r5, #1", "streq r5, [r1]", "streq r5, [r4, #16]", "moveq r2, #9"
    in_it it_store_wide, "ittt eq", "moveq r5, #1", "stmiaeq r1!, {r5, r6}", "streq r5, [r4, #16]", "movs r2, #9"
    in_it it_store_nothing, "ittt eq", "moveq r1, #NOTHING", "streq r5, [r1]", "streq r1, [r4, #16]", "movs r2, #9"
    in_it it_svc, "ittee eq", "svceq #0", "moveq r5, #1", "movne r6, #2", "movne r7, #3"

    /* SVC with the stack pointer at a given distance from 8-byte alignment. Values: SP before and after. */
    .macro aligned name, distance
    probe \name
    mov r7, sp
    bic r5, r7, #7
    sub r5, r5, #\distance
    mov sp, r5
    svc #0
probe_\name\()_at:
    mov r6, sp
    mov sp, r7
    strd r5, r6, [r4]
    end_probe
    .endm

    aligned stack_aligned, 8
    aligned stack_misaligned, 12
    aligned stack_misaligned_allowed, 12

    .macro to_process_stack address
    ldr r5, =\address
    msr psp, r5
    movs r1, #2
    msr control, r1
    isb
    .endm

    .macro to_main_stack
    movs r1, #0
    msr control, r1
    isb
    .endm

    /* Thread mode on the process stack. Values: PSP before, SP after, CONTROL after, r9. */
    .macro on_process_stack name, instruction
    probe \name
    resume_at probe_\name\()_resume
    ldr r8, =DENIED
    ldr r9, =0x5a5a5a5a
    to_process_stack (probe_process_stack + 4 * PROCESS_STACK)
probe_\name\()_at:
    \instruction
probe_\name\()_resume:
    mov r6, sp
    mrs r7, control
    to_main_stack
    strd r5, r6, [r4]
    strd r7, r9, [r4, #8]
    end_probe
    .endm

    on_process_stack process_svc, "svc #0"
    on_process_stack process_fault, "ldr r9, [r8]"
    on_process_stack unstacking_error, "svc #0"

    /* SVC and a denied read with a process stack that cannot be written. */
    .macro stacking name, stack, instruction
    probe \name
    resume_at probe_\name\()_resume
    ldr r8, =DENIED
    to_process_stack \stack
probe_\name\()_at:
    \instruction
probe_\name\()_resume:
    to_main_stack
    end_probe
    .endm

    stacking stacking_error_svc, NOTHING + 0x100, "svc #0"
    stacking stacking_error_denied, DENIED + 0x100, "svc #0"
    stacking stacking_error_fault, NOTHING + 0x100, "ldr r9, [r8]"
    stacking stacking_error_late, NOTHING + 0x100, "udf #3"

    /* SVC, whose handler plays with the return. */
    .macro plain_svc name
    probe \name
    resume_at probe_\name\()_resume
    mrs r5, msp
    svc #0
probe_\name\()_at:
probe_\name\()_resume:
    mrs r6, msp
    mrs r7, faultmask
    strd r5, r6, [r4]
    str r7, [r4, #8]
    end_probe
    .endm

    plain_svc nested_read
    plain_svc nested_svc
    plain_svc return_illegal
    plain_svc return_illegal_disabled
    plain_svc return_to_thread_nested
    plain_svc return_to_thread_forged
    plain_svc return_to_handler_alone
    plain_svc nested_read_nonbase
    plain_svc vector_even
    plain_svc faultmask_set

    /* A denied read, whose handler faults again. */
    .macro plain_read name
    probe \name
    resume_at probe_\name\()_resume
    ldr r8, =DENIED
probe_\name\()_at:
    ldr r9, [r8]
probe_\name\()_resume:
    mrs r7, faultmask
    str r7, [r4, #8]
    end_probe
    .endm

    plain_read read_in_read
    plain_read undefined_in_read
    plain_read undefined_in_read_higher
    plain_read undefined_in_read_grouped
    plain_read read_disabled
    plain_read faultmask_in_hardfault

    /* Entered by startup.S with the stack pointer that EXC_RETURN names in r0, IPSR in r1, EXC_RETURN in LR. */
    .section .text.fault_handler, "ax", %progbits
    .global fault_handler
    .type fault_handler, %function
    .thumb_func
fault_handler:
    mov r2, lr
    mrs r3, msp
    push {r4, lr}
    bl probe_exception
    pop {r4, lr}
    bx r0
