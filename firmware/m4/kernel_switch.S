/*
 * The assembly of the two-task kernel: PendSV switches, SVCall finds its number, and a check of the FP registers.
 */
    .file "kernel_switch.S"
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

    /* Saves what the hardware does not: r4 to r11, EXC_RETURN, nPRIV, and s16 to s31 of a task that has FP context.
     * Touching s16 makes the core write s0 to s15 into the frame first, when it stacked lazily. */
    function kernel_pendsv
    mrs r0, psp
    tst lr, #0x10
    it eq
    vstmdbeq r0!, {s16-s31}
    mrs r3, control
    and r3, r3, #1
    stmdb r0!, {r3-r11, lr}
    bl kernel_next                  /* the stack pointer of the task that goes on */
    ldmia r0!, {r3-r11, lr}
    tst lr, #0x10
    it eq
    vldmiaeq r0!, {s16-s31}
    msr psp, r0
    mrs r1, control
    bic r1, r1, #1
    orr r1, r1, r3
    msr control, r1
    isb
    bx lr
    .size kernel_pendsv, . - kernel_pendsv

    /* The caller's stacked r0 and the number in the SVC instruction before the stacked return address. */
    function kernel_svcall
    tst lr, #4
    ite eq
    mrseq r2, msp
    mrsne r2, psp
    ldr r1, [r2, #24]
    ldrb r1, [r1, #-2]
    ldr r0, [r2]
    b kernel_svc
    .size kernel_svcall, . - kernel_svcall

    /* uint32_t kernel_hold_fp(uint32_t pattern, uint32_t rounds) */
    function kernel_hold_fp
    vpush {s16-s31}
    mov r2, r0
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    vmov s\n, r2
    adds r2, r2, #1
    .endr
1:  subs r1, r1, #1
    bne 1b
    mov r2, r0
    movs r0, #0
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    vmov r3, s\n
    cmp r3, r2
    it ne
    addne r0, r0, #1
    adds r2, r2, #1
    .endr
    vpop {s16-s31}
    bx lr
    .size kernel_hold_fp, . - kernel_hold_fp
