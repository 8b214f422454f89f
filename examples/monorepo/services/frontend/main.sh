ready frontend
