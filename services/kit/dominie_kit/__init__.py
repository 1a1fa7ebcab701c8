"""What every service process of Dominie shares."""
