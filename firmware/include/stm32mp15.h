/*
 * Registers of the STM32MP15, of the A7's GIC and of the Cortex-M4 system control space that the programs touch.
 * Names and offsets are those of RM0436 (UART, RCC, PWR, TAMP), of GICv2 and of the ARMv7-M architecture (SCS).
 */
#ifndef COSIM_STM32MP15_H
#define COSIM_STM32MP15_H

#include <stdint.h>

#define REG32(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define REG8(address) (*(volatile uint8_t *)(uintptr_t)(address))

/* USART/UART, the layout shared by all instances. */
#define USART3_BASE 0x4000f000u
#define UART4_BASE 0x40010000u
#define USART_CR1 0x00u
#define USART_BRR 0x0cu
#define USART_ISR 0x1cu
#define USART_RDR 0x24u
#define USART_TDR 0x28u
#define USART_CR1_UE (1u << 0)
#define USART_CR1_RE (1u << 2)
#define USART_CR1_TE (1u << 3)
#define USART_CR1_RXNEIE (1u << 5)
#define USART_ISR_RXNE (1u << 5)
#define USART_ISR_TXE (1u << 7)

/* What the M4 may use of RCC, PWR and TAMP. */
#define RCC_UART35CKSELR 0x500008ecu
#define RCC_UART35_HSI 2u
#define RCC_MC_APB1ENSETR 0x50000a80u
#define RCC_APB1_USART3EN (1u << 15)
#define PWR_CR1 0x50001000u
#define PWR_CR1_DBP (1u << 8)
#define TAMP_BKP19R 0x5c00a14cu

/* Coprocessor states as the firmware reports them in BKP19R. */
#define COPRO_STATE_RUN 2u
#define COPRO_STATE_CRASH 5u

/* Cortex-M4 system control space. */
#define NVIC_ISER 0xe000e100u
#define NVIC_ISPR 0xe000e200u
#define NVIC_IPR 0xe000e400u
#define NVIC_STIR 0xe000ef00u
#define SCB_CPUID 0xe000ed00u
#define SCB_ICSR 0xe000ed04u
#define SCB_VTOR 0xe000ed08u
#define SCB_SHPR2 0xe000ed1cu
#define SCB_SHPR3 0xe000ed20u
#define SCB_SHCSR 0xe000ed24u
#define SCB_CFSR 0xe000ed28u
#define SCB_HFSR 0xe000ed2cu
#define SCB_MMFAR 0xe000ed34u
#define SCB_BFAR 0xe000ed38u
#define SCB_ICSR_PENDSVSET (1u << 28)
#define SCB_SHCSR_MEMFAULTENA (1u << 16)
#define SCB_SHCSR_BUSFAULTENA (1u << 17)
#define SCB_SHCSR_USGFAULTENA (1u << 18)
#define SCB_CFSR_IACCVIOL (1u << 0)
#define SCB_CFSR_IBUSERR (1u << 8)
#define SCB_CFSR_IMPRECISERR (1u << 10)
#define SCB_CFSR_BFARVALID (1u << 15)

/* GIC of the A7 (GICv2): distributor and CPU interface. */
#define GICD_CTLR 0xa0021000u
#define GICD_ISENABLER 0xa0021100u
#define GICD_ICENABLER 0xa0021180u
#define GICD_IPRIORITYR 0xa0021400u
#define GICD_ITARGETSR 0xa0021800u
#define GICD_ICFGR 0xa0021c00u
#define GICC_CTLR 0xa0022000u
#define GICC_PMR 0xa0022004u
#define GICC_IAR 0xa002200cu
#define GICC_EOIR 0xa0022010u

/* DDR that the TZC-400 keeps for OP-TEE on a board with 512 MiB. */
#define DDR_SECURE_BASE 0xde000000u

#endif
