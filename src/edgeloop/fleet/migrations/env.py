"""What Alembic runs around a migration; the connection comes from ``fleet.database``."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
