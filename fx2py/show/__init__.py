"""Generated code as a person looks at it: its outline, the function of a module, and a page to read it in."""
