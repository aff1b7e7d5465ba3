"""Co-simulation of authenticated remote-processor boot on an STM32MP15-style SoC."""
