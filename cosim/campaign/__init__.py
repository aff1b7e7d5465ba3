"""Attack campaigns on the secure world: thousands of cases, each judged by the monitors and by the state it left.

`cosim.campaign.run` drives them, `cosim.campaign.target` judges, and every other module is one kind of attack.
"""
