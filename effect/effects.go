package effect

// Effects returns every effect, in the order in which a tenant meets them.
func Effects() []Effect {
	return []Effect{}
}
