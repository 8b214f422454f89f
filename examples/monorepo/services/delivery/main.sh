ready delivery
