"""The secure world: image format, signing, authentication, Trusted Application, PTA and OP-TEE SMC interface."""
