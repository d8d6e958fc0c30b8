package caller

import "strings"

// byPower are the roles that identity providers speak of, the weakest first.
var byPower = [...]Role{NoRole, Member, Admin, Owner}

// HighestRole reads the roles of a member as identity providers write them: in
// any case, several of them between commas. What is no role counts for nothing.
func HighestRole(text string) Role {
	highest := 0
	for word := range strings.SplitSeq(text, ",") {
		role := Role(strings.ToUpper(strings.TrimSpace(word)))
		for power, known := range byPower {
			if role == known {
				highest = max(highest, power)
			}
		}
	}
	return byPower[highest]
}
