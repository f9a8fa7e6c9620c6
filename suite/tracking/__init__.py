"""The mirror of run directories in MLflow. It can always be rebuilt from them; nothing reads it back."""
