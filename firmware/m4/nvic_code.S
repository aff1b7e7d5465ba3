/*
 * The parts of the NVIC cases whose every instruction counts: see nvic_cases.h.
 */
    .file "nvic_code.S"
    .syntax unified
    .cpu cortex-m4
    .fpu fpv4-sp-d16
    .thumb

    .macro function name
    .section .text.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
\name:
    .endm

    .macro at name
    .global \name\()_at
\name\()_at:
    .endm

    /* Every exception: frame in r0, number in r1, EXC_RETURN in r2, MSP in r3. */
    function nvic_entry
    tst lr, #4
    ite eq
    mrseq r0, msp
    mrsne r0, psp
    mrs r1, ipsr
    mov r2, lr
    mrs r3, msp
    push {r4, lr}
    bl nvic_handle
    pop {r4, pc}

    /* Each: pend while masked, unmask, and count what runs before the handler has returned. */
    function nvic_unmask_cps
    cpsid i
    str r1, [r0]
    dsb
    movs r2, #0
    nop
    cpsie i
    at nvic_unmask_cps
    adds r2, r2, #1
    mov r0, r2
    bx lr

    function nvic_unmask_msr
    cpsid i
    str r1, [r0]
    dsb
    movs r2, #0
    msr primask, r2
    at nvic_unmask_msr
    adds r2, r2, #1
    mov r0, r2
    bx lr

    /* Each: the store to a block at r0 raises a line; so many instructions later it is taken. */
    function nvic_late
    str r1, [r0]
    movs r2, #0
    adds r2, r2, #1
    adds r2, r2, #1
    adds r2, r2, #1
    at nvic_late
    adds r2, r2, #1
    bx lr

    function nvic_late_in_block
    cmp r1, #0
    ittee ne
    strne r1, [r0]
    movne r2, #0
    moveq r2, #1
    moveq r2, #2
    adds r2, r2, #1
    at nvic_late_in_block
    adds r2, r2, #1
    bx lr

    function nvic_late_and_masked
    movs r3, #0
    str r1, [r0]
    str r3, [r2]
    nop
    nop
    nop
    at nvic_late_and_masked
    bx lr

    function nvic_late_asleep
    str r1, [r0]
    wfi
    at nvic_late_asleep
    bx lr

    function nvic_late_and_pended
    str r1, [r0]
    str r3, [r2]
    at nvic_late_and_pended
    nop
    nop
    bx lr

    /* r2: BASEPRI that holds it back; r3: a lower mask, which BASEPRI_MAX must not take. */
    function nvic_unmask_basepri
    msr basepri, r2
    str r1, [r0]
    dsb
    msr basepri_max, r3
    mrs r0, basepri
    movs r2, #0
    msr basepri, r2
    at nvic_unmask_basepri
    bx lr

    function nvic_unmask_faultmask
    cpsid f
    str r1, [r0]
    dsb
    movs r2, #0
    cpsie f
    at nvic_unmask_faultmask
    adds r2, r2, #1
    mov r0, r2
    bx lr

    /* An IT block is one unit to the simulator: the interrupt comes behind it. */
    function nvic_unmask_in_block
    cpsid i
    str r1, [r0]
    dsb
    movs r2, #0
    cmp r2, #0
    itt eq
    msreq primask, r2
    addeq r2, r2, #1
    at nvic_unmask_in_block
    adds r2, r2, #1
    mov r0, r2
    bx lr

    function nvic_pend_now
    movs r2, #0
    str r1, [r0]
    at nvic_pend_now
    adds r2, r2, #1
    mov r0, r2
    bx lr

    function nvic_divide
    at nvic_divide
    udiv r0, r0, r1
    bx lr

    function nvic_divide_in_block
    movs r2, #0
    cmp r2, #0
    ittt eq
    addeq r2, r2, #1
    at nvic_divide_in_block
    sdiveq r0, r0, r1
    addeq r0, r0, r2
    bx lr

    function nvic_use_fpu
    at nvic_use_fpu
    vmov.f32 s0, #2.0
    vmov.f32 s15, #3.0
    bx lr

    /* As an RTOS saves a task: the first FP instruction is a store in an IT block. */
    function nvic_use_fpu_in_block
    movs r1, #0
    cmp r1, #0
    itt eq
    addeq r1, r1, #1
    at nvic_use_fpu_in_block
    vstmiaeq r0!, {s16-s31}
    bx lr

    function nvic_other_coprocessor
    at nvic_other_coprocessor
    mrc p14, 0, r0, c0, c1, 0
    bx lr

    /* S0 to S31 from memory, and FPSCR 0x03000000. */
    function nvic_load_floating
    vldmia r0, {s0-s31}
    mov r1, #0x03000000
    vmsr fpscr, r1
    bx lr

    /* How many of S0 to S31 differ from memory, plus 100 if FPSCR is another. */
    function nvic_compare_floating
    push {r4, lr}
    sub sp, sp, #128
    mov r1, sp
    vstmia r1, {s0-s31}
    vmrs r3, fpscr
    movs r2, #0
    cmp r3, #0x03000000
    it ne
    movne r2, #100
    movs r3, #32
1:  ldr r4, [r0], #4
    ldr r12, [r1], #4
    cmp r4, r12
    it ne
    addne r2, r2, #1
    subs r3, r3, #1
    bne 1b
    mov r0, r2
    add sp, sp, #128
    pop {r4, pc}

    /* r2() with CONTROL r0 and PSP r1; SVC 0 must make the core privileged again. Returns CONTROL as it was then. */
    function nvic_on_process_stack
    push {r4-r6, lr}
    msr psp, r1
    orr r0, r0, #2
    msr control, r0
    isb
    blx r2
    mrs r4, control
    svc #0
    movs r1, #0
    msr control, r1
    isb
    mov r0, r4
    pop {r4-r6, pc}

    /* SysTick expires once, a given number of instructions behind its enabling, while an SVC is at work or not. */
    function nvic_tick_and_svc
    str r1, [r0, #4]
    movs r2, #0
    str r2, [r0, #8]
    movs r3, #7
    str r3, [r0]
    nop
    str r2, [r0, #4]
    nop
    svc #1
    nop
    nop
    nop
    nop
    str r2, [r0]
    bx lr

    /* SVC with another stack pointer. */
    function nvic_svc_on_stack
    push {r4, lr}
    mov r4, sp
    mov sp, r0
    svc #0
    at nvic_svc_on_stack
    mov sp, r4
    pop {r4, pc}
