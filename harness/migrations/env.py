"""How alembic reaches the database: over the connection, and in the transaction, of its caller."""

from __future__ import annotations

from alembic import context

from serbench.harness.records import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
)
with context.begin_transaction():
    context.run_migrations()
