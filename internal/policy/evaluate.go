package policy

// evaluation is a request for one of its resources.
type evaluation struct {
	principal *Principal
	action    string // in lower case
	resource  string
	name      name
	ctx       Context
}

func (e *evaluation) anyOf(documents []*Document) (allowed, denied bool) {
	for _, d := range documents {
		a, denied := d.evaluate(e)
		if denied {
			return false, true
		}
		allowed = allowed || a
	}
	return allowed, false
}

// evaluate looks at a document without principals. An Allow is looked for only once, a Deny to the end.
func (d *Document) evaluate(e *evaluation) (allowed, denied bool) {
	for i := range d.statements {
		s := &d.statements[i]
		if s.allow && allowed || !s.matches(e) {
			continue
		}
		if !s.allow {
			return false, true
		}
		allowed = true
	}
	return allowed, false
}

// evaluate returns how closely the statements that allow name the principal.
func (a Attached) evaluate(e *evaluation) (found level, denied bool) {
	found, denied = a.about(e)
	if denied || a.On == "" || a.On == e.resource {
		return found, denied
	}
	holder := *e
	holder.resource, holder.name = a.On, newName(a.On)
	also, denied := a.about(&holder)
	return max(found, also), denied
}

func (a Attached) about(e *evaluation) (found level, denied bool) {
	for i := range a.Document.statements {
		s := &a.Document.statements[i]
		named := s.names(e.principal, a.IDs)
		if named == unnamed || s.allow && named <= found || !s.matches(e) {
			continue
		}
		if !s.allow {
			return unnamed, true
		}
		found = named
	}
	return found, false
}

func (s *statement) names(p *Principal, ids map[string]string) level {
	switch {
	case s.principals != nil:
		return s.principals.level(p, ids)
	case s.notPrincipals != nil:
		return when(!s.notPrincipals.exempts(p, ids), directly)
	}
	return unnamed
}

// matches looks at everything but the principal. A statement with a variable that has no value does not match.
func (s *statement) matches(e *evaluation) bool {
	if s.actions.match(e.action) == s.notAction {
		return false
	}
	for _, ref := range s.references {
		if _, ok := ref.resolve(e.ctx); !ok {
			return false
		}
	}
	if len(s.resources) > 0 && s.matchesResource(e) == s.notResource {
		return false
	}
	for i := range s.conditions {
		if !s.conditions[i].holds(e.ctx) {
			return false
		}
	}
	return true
}

func (s *statement) matchesResource(e *evaluation) bool {
	for _, p := range s.resources {
		if p.match(e.resource, &e.name, e.ctx) {
			return true
		}
	}
	return false
}
