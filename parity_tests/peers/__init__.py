"""Public libraries, used as their own users do: the judges of what `rosetta port` writes."""
