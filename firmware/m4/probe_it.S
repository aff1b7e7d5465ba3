/*
 * Counts: code between marker writes, of which it is known how many instructions it executes. The marker of each case
 * is a write of its number to TAMP_BKP20R. A member that an IT block skips is executed as NOP (ARMv7-M, A7.3.2), so it
 * counts. Each marker says how many instructions lie behind it, not counting the two of the next marker.
 */
    .file "probe_it.S"
    .syntax unified
    .cpu cortex-m4
    .fpu fpv4-sp-d16
    .thumb

    .equ MARKER, 0x5c00a150

    /* Ends the case before, begins the next: MOVS and STR. */
    .macro marker number
    movs r6, #\number
    str r6, [r7]
    .endm

    .section .text.main, "ax", %progbits
    .global main
    .type main, %function
    .thumb_func
main:
    push {r4-r11, lr}
    movs r0, #2
    bl report_state
    ldr r7, =MARKER
    movs r0, #0
    movs r1, #1
    movs r2, #2
    ldr r5, =probe_cell

    marker 0                        /* nothing */
    marker 1                        /* straight line, 16 and 32 bits: 4 */
    adds r0, r0, #1
    add.w r3, r0, r1
    mov.w r3, r3
    nop
    marker 2                        /* one member, taken: 3 */
    cmp r0, r0
    it eq
    addeq r0, r0, #1
    marker 3                        /* one member, skipped: 3 */
    cmp r0, r0
    it ne
    addne r0, r0, #1
    marker 4                        /* two members, both taken: 4 */
    cmp r0, r0
    itt eq
    addeq r0, r0, #1
    addeq r0, r0, #1
    marker 5                        /* two members, both skipped: 4 */
    cmp r0, r0
    itt ne
    addne r0, r0, #1
    addne r0, r0, #1
    marker 6                        /* two members, first taken: 4 */
    cmp r0, r0
    ite eq
    addeq r0, r0, #1
    addne r0, r0, #1
    marker 7                        /* two members, second taken: 4 */
    cmp r0, r0
    ite ne
    addne r0, r0, #1
    addeq r0, r0, #1
    marker 8                        /* three members, mixed: 5 */
    cmp r0, r0
    itet ne
    addne r0, r0, #1
    addeq r0, r0, #1
    addne r0, r0, #1
    marker 9                        /* four members, all taken: 6 */
    cmp r0, r0
    itttt eq
    addeq r0, r0, #1
    addeq r0, r0, #1
    addeq r0, r0, #1
    addeq r0, r0, #1
    marker 10                       /* four members, all skipped: 6 */
    cmp r0, r0
    itttt ne
    addne r0, r0, #1
    addne r0, r0, #1
    addne r0, r0, #1
    addne r0, r0, #1
    marker 11                       /* four members, every other one: 6 */
    cmp r0, r0
    itete eq
    addeq r0, r0, #1
    addne r0, r0, #1
    addeq r0, r0, #1
    addne r0, r0, #1
    marker 12                       /* 32-bit members, taken: 5 */
    cmp r0, r0
    ittt eq
    movweq r3, #0x1234
    movteq r3, #0x5678
    addeq.w r3, r3, r3
    marker 13                       /* 32-bit members, skipped, and a 16-bit one between: 5 */
    cmp r0, r0
    ittt ne
    movwne r3, #0x1234
    addne r3, r3, #1
    movtne r3, #0x5678
    marker 14                       /* a branch as last member, taken: 4 */
    cmp r0, r0
    itt eq
    addeq r0, r0, #1
    beq 1f
    udf #0
1:  marker 15                       /* a branch as last member, skipped: 4 */
    cmp r0, r0
    itt ne
    addne r0, r0, #1
    bne 1f
    marker 16                       /* a block, all skipped, right before a branch: 5 */
    cmp r0, r0
    itt ne
    addne r0, r0, #1
    addne r0, r0, #1
    b 1f
    udf #0
1:  marker 17                       /* two blocks in a row: 7 */
    cmp r0, r0
    ite ne
    addne r0, r0, #1
    addeq r0, r0, #1
    itt ne
    addne r0, r0, #1
    addne r0, r0, #1
    marker 18                       /* BL, a block that returns as its last member, the rest of it not reached: 6 */
    bl returns_in_block
    nop
    marker 19                       /* BL, a block whose return is skipped, then a return: 7 */
    bl returns_behind_block
    nop
    marker 20                       /* loads and stores as members: 6 */
    cmp r0, r0
    ittee eq
    streq r0, [r5]
    ldreq r3, [r5]
    strne r0, [r5]
    ldrne r3, [r5]
    marker 21                       /* PUSH and POP of many as members: 4 */
    cmp r0, r0
    itt eq
    pusheq {r0-r4}
    popeq {r0-r4}
    marker 22                       /* a marker as member, number 23: 2 before it, 1 behind it */
    movs r6, #23
    cmp r0, r0
    itt eq
    streq r6, [r7]
    addeq r0, r0, #1
    marker 24                       /* a loop of 100 rounds, every other round takes its block: 1 + 100 * 6 */
    movs r3, #100
1:  tst r3, #1
    ite eq
    addeq r0, r0, #1
    addne r0, r0, #2
    subs r3, r3, #1
    bne 1b
    marker 25                       /* SVC in the middle of a block: 5, and 9 of its handler */
    cmp r0, r0
    ittt eq
    addeq r0, r0, #1
    svceq #0
    addeq r0, r0, #1
    marker 26                       /* SVC as last member of a block: 4, and 9 of its handler */
    cmp r0, r0
    itt eq
    addeq r0, r0, #1
    svceq #0
    marker 27                       /* a faulting load as second of four: 7, and 10 of its handler */
    ldr r1, =0x70000000
    cmp r0, r0
    itttt eq
    addeq r0, r0, #1
    ldreq r3, [r1]                  /* faults, is repeated with another r1, and retires once */
    addeq r0, r0, #1
    streq r3, [r5]
    marker 28                       /* the same with a store: 7, and 10 of its handler */
    ldr r1, =0x70000000
    cmp r0, r0
    itete eq
    addeq r0, r0, #1
    addne r0, r0, #1
    streq r3, [r1]
    strne r3, [r5]
    marker 29                       /* VFP members: 5 */
    cmp r0, r0
    ittt eq
    vmoveq s0, r0
    vaddeq.f32 s0, s0, s0
    vmoveq r3, s0
    marker 30                       /* an undefined instruction that is skipped: 3 */
    cmp r0, r0
    it ne
    udfne #0
    marker 31                       /* a block across a page boundary: 7 */
    b across
returned:
    marker 63
1:  wfi
    b 1b
    .ltorg

    .type returns_in_block, %function
    .thumb_func
returns_in_block:
    cmp r0, r0
    itt eq
    addeq r0, r0, #1
    bxeq lr
    udf #0

    .type returns_behind_block, %function
    .thumb_func
returns_behind_block:
    cmp r0, r0
    itt ne
    addne r0, r0, #1
    bxne lr
    bx lr

    .balign 4096
    .space 4090
across:
    cmp r0, r0
    itett eq
    addeq r0, r0, #1
    addne.w r3, r3, #1
    addeq r0, r0, #1
    beq returned
    udf #0

    /* Entered by startup.S, six instructions after the exception; three more for SVC, four for a fault. */
    .section .text.fault_handler, "ax", %progbits
    .global fault_handler
    .type fault_handler, %function
    .thumb_func
fault_handler:
    cmp r1, #11
    beq 1f
    str r5, [r0, #4]                /* r1 of the frame: an address that works */
1:  bx lr

    .section .bss.probe_cell, "aw", %nobits
    .balign 4
probe_cell:
    .space 4
