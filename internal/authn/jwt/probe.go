package jwt

import "context"

// Probe fetches the keys at an address once, as the authenticator does, and
// returns how many of them can be used.
func Probe(ctx context.Context, address string) (int, error) {
	s, err := newSource(address)
	if err != nil {
		return 0, err
	}
	defer s.close()
	document, err := s.fetch(ctx)
	if err != nil {
		return 0, err
	}
	set, _, err := readKeys(document)
	if err != nil {
		return 0, err
	}
	return len(set.keys), nil
}
