"""How each defacer does on real heads, and how robustly a head is found: tables over data that is not in here."""
