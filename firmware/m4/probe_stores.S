/*
 * Stores into its own text, which a test makes read-only meanwhile; then counts for ever, in code that a test changes.
 * It reports that it is ready, and begins when TAMP_BKP21R is not zero. A store that faults is stepped over.
 */
    .file "probe_stores.S"
    .syntax unified
    .cpu cortex-m4
    .thumb

    .equ GO, 0x5c00a154
    .equ DONE, 0x5c00a150
    .equ BFAR, 0xe000ed38
    .equ PATTERN, 0x11111111

    .section .text.main, "ax", %progbits
    .global main
    .type main, %function
    .thumb_func
main:
    push {r4-r11, lr}
    movs r0, #2
    bl report_state
    ldr r0, =GO
1:  ldr r1, [r0]
    cmp r1, #0
    beq 1b
    ldr r4, =probe_target
    ldr r8, =0x0badc0d1
    ldr r9, =0x0badc0d2
    ldr r10, =0x0badc0d3
    ldr r11, =0x0badc0d4
    str r8, [r4]
    strb r8, [r4, #5]
    strh r8, [r4, #10]
    str r8, [r4, #13]               /* unaligned */
    strd r8, r9, [r4, #16]
    add r0, r4, #24
    stmia r0!, {r8-r11}
    cmp r4, r4
    itte eq
    streq r8, [r4, #40]
    streq r9, [r4, #44]
    strne r10, [r4, #48]
    add r0, r4, #64
    stmdb r0!, {r8, r9}
    ldr r5, =probe_found            /* what the target holds now */
    ldmia r4!, {r0-r3, r8-r11}
    stmia r5!, {r0-r3, r8-r11}
    ldmia r4!, {r0-r3, r8-r11}
    stmia r5!, {r0-r3, r8-r11}
    ldr r0, =DONE
    movs r1, #1
    str r1, [r0]
    ldr r5, =probe_counter
    b 2f
    .ltorg
    .balign 4
    .global probe_patch
probe_patch:
2:  ldr r1, [r5]
    adds r1, r1, #1
    str r1, [r5]
    b 2b

    /* Sixteen words of text. */
    .balign 8
    .global probe_target
probe_target:
    .rept 16
    .word PATTERN
    .endr

    /* Entered by startup.S with the frame in r0: notes BFAR, and steps over the store. */
    .section .text.fault_handler, "ax", %progbits
    .global fault_handler
    .type fault_handler, %function
    .thumb_func
fault_handler:
    ldr r2, =BFAR
    ldr r2, [r2]
    ldr r3, =probe_faults
    ldr r1, [r3]
    adds r1, r1, #1
    str r1, [r3]
    str r2, [r3, r1, lsl #2]
    ldr r1, [r0, #24]
    ldrh r2, [r1]
    adds r1, r1, #2
    lsrs r2, r2, #11
    cmp r2, #0x1d
    it hs
    addhs r1, r1, #2
    str r1, [r0, #24]
    ldr r1, [r0, #28]               /* ITSTATE moves on with the PC: ITSTATE[4:0] one place to the left */
    ubfx r2, r1, #10, #6
    lsls r2, r2, #2
    ubfx r3, r1, #25, #2
    orrs r2, r2, r3
    tst r2, #7
    ite eq
    moveq r2, #0
    movne r3, r2
    beq 1f
    and r2, r2, #0xe0
    lsls r3, r3, #1
    and r3, r3, #0x1f
    orrs r2, r2, r3
1:  lsrs r3, r2, #2
    bfi r1, r3, #10, #6
    bfi r1, r2, #25, #2
    str r1, [r0, #28]
    bx lr
    .ltorg

    .section .bss.probe_stores, "aw", %nobits
    .balign 4
    .global probe_faults, probe_found, probe_counter
probe_faults:                       /* how many, then the BFAR of each */
    .space 64
probe_found:
    .space 64
probe_counter:
    .space 4
