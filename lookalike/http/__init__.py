"""What both of our web services need: a server and bounds on what it takes in."""
