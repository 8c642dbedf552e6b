package avro

// skip steps over a value.
func (c *cursor) skip(n *node) error {
	var err error
	switch n.kind {
	case kindNull:
		err = c.nothing()
	case kindBoolean:
		_, err = c.boolean()
	case kindInt:
		_, err = c.int()
	case kindLong:
		_, err = c.long()
	case kindFloat:
		_, err = c.take(4)
	case kindDouble:
		_, err = c.take(8)
	case kindString, kindBytes:
		_, err = c.span()
	case kindFixed:
		if n.size == 0 {
			return c.nothing()
		}
		_, err = c.take(n.size)
	case kindEnum:
		_, err = c.index(len(n.symbols), errEnum)
	case kindUnion:
		i, bad := c.index(len(n.branches), errUnion)
		if bad != nil || n.branches[i].kind == kindNull {
			return bad
		}
		return c.skip(n.branches[i])
	case kindArray, kindMap:
		return c.skipBlocks(n)
	case kindRecord:
		return c.skipRecord(n)
	default:
		err = errKind
	}
	return err
}

func (c *cursor) skipRecord(n *node) error {
	if err := c.enter(); err != nil {
		return err
	}
	if len(n.fields) == 0 {
		if err := c.nothing(); err != nil {
			return err
		}
	}
	err := c.skipFields(n.fields)
	c.depth--
	return err
}

func (c *cursor) skipFields(fields []field) error {
	for i := 0; i < len(fields); i++ {
		f := &fields[i]
		if nulls := c.nulls(min(f.nullable, len(fields)-i)); nulls > 0 {
			i += nulls - 1
			continue
		}
		if err := c.skip(f.node); err != nil {
			return err
		}
	}
	return nil
}

func (c *cursor) skipBlocks(n *node) error {
	if err := c.enter(); err != nil {
		return err
	}
	for {
		items, end, err := c.block()
		if err != nil {
			return err
		}
		if items == 0 {
			c.depth--
			return nil
		}
		if end >= 0 {
			c.pos = end
			continue
		}
		for ; items > 0; items-- {
			if n.kind == kindMap {
				if _, err := c.span(); err != nil {
					return err
				}
			}
			if err := c.skip(n.items); err != nil {
				return err
			}
		}
	}
}
