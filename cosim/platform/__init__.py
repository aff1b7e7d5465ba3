"""The hardware description: Renode platform files read into data that every engine assembles its machine from."""
