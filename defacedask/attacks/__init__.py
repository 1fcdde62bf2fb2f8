"""What an attacker does to a defaced head, one attack a file, and the planted faults that each must find."""
