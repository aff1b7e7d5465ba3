/*
 * Cycle counts: pieces of code between two reads of DWT_CYCCNT. Each returns the difference; the piece `empty` tells
 * what the reading itself takes. A MOV on both sides keeps the code apart from the loads that read the counter.
 *
 * In each piece: r3 the counter's address, r6 two words of memory (itself at 0, its address at 4), r4 DDR, r12 SYSRAM,
 * r0 100, r1 10, r2 all ones, r5 0, r7 1, s1, s2, s4 and s5 2.0. It may change all of r0 to r2, r4, r5, r7, r12 and s0
 * to s5.
 */
    .file "dwt_probe.S"
    .syntax unified
    .cpu cortex-m4
    .fpu fpv4-sp-d16
    .thumb

    .equ DWT_CYCCNT, 0xe0001004
    .equ SYSRAM, 0x2ffc0000
    .equ DDR, 0xc0000000

    /* The table of dwt_probe.c: the name's address, and the function. */
    .macro piece name
    .section .rodata.dwt_pieces, "a", %progbits
    .word name_\name, dwt_\name
    .section .rodata.dwt_names, "a", %progbits
name_\name:
    .asciz "\name"
    .section .text.dwt, "ax", %progbits
    .balign 8
    .type dwt_\name, %function
    .thumb_func
dwt_\name:
    push {r4-r8, lr}
    bl dwt_begin
    .balign 8
    ldr r8, [r3]
    mov r9, r9
    .endm

    .macro end
    mov r9, r9
    ldr r0, [r3]
    sub r0, r0, r8
    pop {r4-r8, pc}
    .endm

    .section .rodata.dwt_pieces, "a", %progbits
    .balign 4
    .global dwt_pieces
dwt_pieces:

    piece empty
    end

    piece add
    adds r0, r0, #1
    end

    piece multiply_long
    umull r4, r5, r0, r1
    end

    piece load
    ldr r0, [r6]
    end

    piece two_loads
    ldr r0, [r6]
    ldr r1, [r6, #4]
    end

    piece load_from_loaded
    ldr r0, [r6, #4]
    ldr r1, [r0]
    end

    piece store
    str r0, [r6]
    end

    piece store_register_offset
    str r0, [r6, r5]
    end

    piece store_then_load
    str r0, [r6]
    ldr r1, [r6]
    end

    piece load_unaligned_even
    ldr r0, [r6, #2]
    end

    piece load_unaligned_odd
    ldr r0, [r6, #1]
    end

    piece store_halfword_unaligned
    strh r0, [r6, #1]
    end

    piece load_sysram
    ldr r0, [r12]
    end

    piece load_ddr
    ldr r0, [r4, r5]
    end

    piece load_two_ddr
    ldm r4, {r0, r1}
    end

    piece load_ddr_unaligned
    ldr r0, [r4, #1]
    end

    piece address_just_computed
    adds r4, r6, #4
    ldr r0, [r4]
    end

    piece push_pop_four
    push {r0, r1, r4, r5}
    pop {r0, r1, r4, r5}
    end

    piece divide_100_by_10
    udiv r0, r0, r1
    end

    piece divide_most
    udiv r0, r2, r7
    end

    piece divide_least
    udiv r0, r7, r2
    end

    piece divide_signed
    sdiv r0, r2, r7
    end

    piece branch_taken
    b 1f
1:
    end

    piece branch_not_taken
    cmp r0, r0
    bne 1f
1:
    end

    piece branch_to_wide_across_words
    b 1f
    nop
1:  add.w r0, r0, #1
    end

    piece loop_of_ten
1:  subs r1, r1, #1
    bne 1b
    end

    piece call
    bl dwt_return
    end

    piece it_taken
    cmp r0, r0
    it eq
    addeq r0, r0, #1
    end

    piece it_skipped
    cmp r0, r0
    it ne
    addne r0, r0, #1
    end

    piece float_add
    vadd.f32 s0, s1, s2
    end

    piece float_use_of_result
    vadd.f32 s0, s1, s2
    vadd.f32 s3, s0, s1
    end

    piece float_divide
    vdiv.f32 s0, s1, s2
    end

    piece float_behind_divide
    vdiv.f32 s0, s1, s2
    vadd.f32 s3, s4, s5
    end

    piece supervisor_call
    svc #0
    end

    .section .rodata.dwt_pieces, "a", %progbits
    .global dwt_pieces_end
dwt_pieces_end:

    .section .text.dwt, "ax", %progbits
    /* The registers that a piece begins with. */
    .type dwt_begin, %function
    .thumb_func
dwt_begin:
    ldr r3, =DWT_CYCCNT
    ldr r6, =dwt_cell
    ldr r12, =SYSRAM
    mov r4, #DDR
    str r6, [r6, #4]
    movs r0, #100
    movs r1, #10
    mvn r2, #0
    movs r5, #0
    movs r7, #1
    vmov.f32 s1, #2.0
    vmov.f32 s2, #2.0
    vmov.f32 s4, #2.0
    vmov.f32 s5, #2.0
    .global dwt_return
    .type dwt_return, %function
    .thumb_func
dwt_return:
    bx lr
    .ltorg

    .section .bss.dwt, "aw", %nobits
    .balign 8
dwt_cell:
    .space 8
