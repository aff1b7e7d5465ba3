/*
 * Assembly macros of the probes. A probe is a C function `void probe_<name>(uint32_t *values)`. The label
 * probe_<name>_at marks the instruction whose address the handler must find stacked, probe_<name>_resume where the
 * handler makes it go on.
 */
    .syntax unified
    .cpu cortex-m4
    .fpu fpv4-sp-d16
    .thumb

    .equ DENIED, 0x2ffc0000         /* SYSRAM, secure only */
    .equ NOTHING, 0x70000000        /* no memory and no block; executable by the default memory map */
    .equ NEVER_EXECUTE, 0x50000000  /* peripherals */
    .equ PROCESS_STACK, 128         /* words */
    .equ LAST_WORDS, 0x1005fff8     /* the last two words of SRAM4; nothing lies behind */

    /* r4 keeps the address of the values. */
    .macro probe name
    .section .text.probe_\name, "ax", %progbits
    .global probe_\name
    .type probe_\name, %function
    .thumb_func
probe_\name:
    push {r4-r11, lr}
    sub sp, sp, #4
    mov r4, r0
    .endm

    .macro end_probe
    add sp, sp, #4
    pop {r4-r11, pc}
    .ltorg
    .endm

    .macro resume_at label
    ldr r2, =\label
    ldr r3, =probe_resume
    str r2, [r3]
    .endm
