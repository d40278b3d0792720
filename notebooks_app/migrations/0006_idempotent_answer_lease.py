from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("notebooks_app", "0005_version_cell_origin"),
    ]

    operations = [
        migrations.AddField(
            model_name="idempotentanswer",
            name="held_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
